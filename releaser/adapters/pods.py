"""Pods of releaser's own: one container with a Python program in the release's image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kubernetes import client


def program_pod(
    name: str,
    labels: Mapping[str, str],
    image: str,
    program: Sequence[str],
    *,
    container: str,
    cpu: str,
    longest_seconds: int,
    grace_seconds: int,
    node: str = "",
) -> client.V1Pod:
    """A pod that runs `python -I -c PROGRAM...` once. It meets Pod Security `restricted`, asks for `cpu`, and ends by
    itself after `longest_seconds` when nobody is there to remove it."""
    return client.V1Pod(
        metadata=client.V1ObjectMeta(name=name, labels=dict(labels)),
        spec=client.V1PodSpec(
            restart_policy="Never",
            active_deadline_seconds=longest_seconds,
            termination_grace_period_seconds=grace_seconds,
            automount_service_account_token=False,
            enable_service_links=False,
            node_selector={"kubernetes.io/hostname": node} if node else None,
            security_context=client.V1PodSecurityContext(
                run_as_non_root=True,
                run_as_user=10001,
                run_as_group=10001,
                seccomp_profile=client.V1SeccompProfile(type="RuntimeDefault"),
            ),
            containers=[
                client.V1Container(
                    name=container,
                    image=image,
                    image_pull_policy="IfNotPresent",
                    command=["python", "-I", "-c", *program],
                    resources=client.V1ResourceRequirements(
                        requests={"cpu": cpu, "memory": "32Mi"}, limits={"cpu": "500m", "memory": "96Mi"}
                    ),
                    security_context=client.V1SecurityContext(
                        allow_privilege_escalation=False,
                        read_only_root_filesystem=True,
                        capabilities=client.V1Capabilities(drop=["ALL"]),
                    ),
                )
            ],
        ),
    )

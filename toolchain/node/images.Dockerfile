# The control plane's images: one image under several names, since one binary is all of them. kube-proxy needs iptables and
# conntrack, the pod network iptables and ipset; the others carry them along, in layers that are stored once.
ARG DEBIAN
FROM $DEBIAN AS control-plane
RUN apt-get update -qq && apt-get install -y -qq iptables ipset conntrack kmod >/dev/null && rm -rf /var/lib/apt/lists/* /var/cache/apt/*
COPY node /usr/local/bin/node
RUN for name in kube-apiserver kube-controller-manager kube-scheduler kube-proxy etcd coredns metrics-server pod-network; do \
      ln -s node /usr/local/bin/$name; done
COPY pause /pause

FROM control-plane AS coredns
ENTRYPOINT ["/usr/local/bin/coredns"]

FROM control-plane AS metrics-server
ENTRYPOINT ["/usr/local/bin/metrics-server"]

FROM control-plane AS pod-network
ENTRYPOINT ["/usr/local/bin/pod-network"]

FROM control-plane AS pause
USER 65535:65535
ENTRYPOINT ["/pause"]

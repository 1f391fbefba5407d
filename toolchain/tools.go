//go:build tools

// Package tools makes go.mod keep the modules of the programs that are built as they are.
package tools

import (
	_ "helm.sh/helm/v4/cmd/helm"
	_ "k8s.io/minikube/cmd/minikube"
	_ "sigs.k8s.io/cri-tools/cmd/crictl"
)

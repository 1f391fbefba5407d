//go:build tools

// Package tools makes go.mod keep the modules of the checks' programs as they are.
package tools

import (
	_ "github.com/helm/chart-testing/v3/ct"
	_ "github.com/prometheus/prometheus/cmd/promtool"
	_ "github.com/yannh/kubeconform/cmd/kubeconform"
	_ "helm.sh/helm/v3/cmd/helm"
)

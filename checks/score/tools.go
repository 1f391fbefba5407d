//go:build tools

// Package tools keeps kube-score apart: it compiles only with older libraries of Kubernetes than the others need.
package tools

import _ "github.com/zegl/kube-score/cmd/kube-score"

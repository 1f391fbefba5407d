//go:build tools

// Package tools keeps buildx apart: it wants newer libraries of Docker and of Kubernetes than the others.
package tools

import _ "github.com/docker/buildx/cmd/buildx"

//go:build tools

// Package tools pins Docker Compose, which no other part of this project needs.
package tools

import _ "github.com/docker/compose/v5/cmd"

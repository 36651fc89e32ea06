//go:build !linux

package e2e

import "os/exec"

// dieWithParent needs Linux; elsewhere a test that times out may leave processes behind.
func dieWithParent(*exec.Cmd) {}

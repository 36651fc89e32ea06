package e2e

import (
	"os/exec"
	"syscall"
)

// dieWithParent makes the kernel kill the process when the test's process ends: cleanups don't run when a test times
// out.
func dieWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}

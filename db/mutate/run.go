package main

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// timeLimit is for one run of tests: a fault may make them hang. All tests of db take some five minutes on two quiet
// cores.
const timeLimit = 15 * time.Minute

var (
	runLine  = regexp.MustCompile(`^=== RUN +([^/\s]+)`)
	failLine = regexp.MustCompile(`^ *--- FAIL: ([^/\s]+)`)
)

// run runs tests of a package and returns the first that fails, as fault.test, without waiting for the others; empty:
// none fails. number selects a fault; 0: none. args are further arguments of the test program.
func (t *tester) run(ctx context.Context, overlay string, number int, which, in string, args ...string) (failed string,
	err error) {
	path, err := t.program(ctx, overlay, in)
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return "", nil // the package has no tests
	}
	running, stop := context.WithCancel(ctx)
	defer stop()
	cmd := exec.CommandContext(running, path, append([]string{"-test.v", "-test.failfast", "-test.timeout",
		timeLimit.String(), "-test.run", which}, args...)...)
	cmd.Dir = filepath.Join(t.root, in)
	cmd.Env = t.environment(overlay, number)
	// Tests start processes: an end of the tests ends them all.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", err
	}
	if err := cmd.Start(); err != nil {
		return "", err
	}
	last := ""
	lines := bufio.NewReader(out)
	for failed == "" {
		line, err := lines.ReadString('\n')
		if m := runLine.FindStringSubmatch(line); m != nil {
			last = m[1]
		}
		if m := failLine.FindStringSubmatch(line); m != nil {
			failed = m[1]
		}
		if err != nil {
			break // the end
		}
	}
	if failed != "" {
		stop()
	}
	err = cmd.Wait()
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	if failed == "" && err != nil {
		failed = last // a panic of another goroutine, or an exit
	}
	if failed == "" {
		return "", nil
	}
	return strings.TrimPrefix(in, "./") + "." + failed, nil
}

package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// tailLines is the number of log lines that a failed test prints: enough for a panic's stack and the lines before it.
const tailLines = 60

// journal keeps the output of a program, across its restarts.
type journal struct {
	name string

	mu    sync.Mutex
	lines []string
	part  []byte // an incomplete line
}

// newJournal returns a journal that is printed if the test fails.
func newJournal(t *testing.T, name string) *journal {
	t.Helper()
	j := &journal{name: name}
	t.Cleanup(func() {
		if t.Failed() {
			all := j.since(0)
			from := max(0, len(all)-tailLines)
			t.Logf("%s: the last %d of %d lines:\n%s", name, len(all)-from, len(all), strings.Join(all[from:], "\n"))
		}
	})
	return j
}

// Write appends output of a program.
func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.part = append(j.part, p...)
	for {
		line, rest, ok := bytes.Cut(j.part, []byte{'\n'})
		if !ok {
			return len(p), nil
		}
		j.lines = append(j.lines, string(line))
		j.part = rest
	}
}

// note appends an action of the test itself.
func (j *journal) note(format string, args ...any) {
	_, _ = fmt.Fprintf(j, "--- "+format+"\n", args...) // Write doesn't fail
}

// since returns the lines from the n-th on.
func (j *journal) since(n int) []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.lines[n:])
}

// child is a process that a test started.
type child struct {
	*journal
	first int // its first line in the journal
	cmd   *exec.Cmd
	ended chan struct{}
	err   error // of the exit; valid when ended is closed
}

// start starts a program. The end of the test kills it if it still runs.
func start(t *testing.T, j *journal, env []string, name string, args ...string) *child {
	t.Helper()
	c := &child{journal: j, first: len(j.since(0)), cmd: exec.Command(program(name), args...), ended: make(chan struct{})}
	c.cmd.Env = append(environ(), env...)
	c.cmd.Stdout, c.cmd.Stderr = j, j // one writer for both keeps the order of lines
	dieWithParent(c.cmd)
	if err := c.cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	j.note("started %s %s, process %d", name, strings.Join(args, " "), c.cmd.Process.Pid)
	go func() {
		defer close(c.ended)
		c.err = c.cmd.Wait()
	}()
	t.Cleanup(c.kill)
	return c
}

// environ returns the test's environment without variables of the programs.
func environ() []string {
	return slices.DeleteFunc(os.Environ(), func(kv string) bool {
		return strings.HasPrefix(kv, "WEFT_") || strings.HasPrefix(kv, "JETSTREAM_") || strings.HasPrefix(kv, "AWS_")
	})
}

// kill kills the process with SIGKILL, as a crash or a power loss does, and waits for its end.
func (c *child) kill() {
	select {
	case <-c.ended:
		return
	default:
	}
	_ = c.cmd.Process.Kill() // it may have ended by itself
	<-c.ended
	c.note("killed")
}

// terminate asks the process to end with SIGTERM and returns its exit code.
func (c *child) terminate(t *testing.T, within time.Duration) int {
	t.Helper()
	c.note("SIGTERM")
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatalf("%s: SIGTERM: %v", c.name, err)
	}
	return c.exit(t, within)
}

// exit waits for the process's end and returns its exit code.
func (c *child) exit(t *testing.T, within time.Duration) int {
	t.Helper()
	select {
	case <-c.ended:
	case <-time.After(within):
		t.Fatalf("%s has not ended within %s", c.name, within)
	}
	var exit *exec.ExitError
	switch {
	case c.err == nil:
		return 0
	case errors.As(c.err, &exit):
		return exit.ExitCode()
	}
	t.Fatalf("%s: %v", c.name, c.err)
	return 0
}

// output returns the output of this process.
func (c *child) output() []string { return c.since(c.first) }

// line returns the first line that contains all of these parts.
func (c *child) line(parts ...string) (string, bool) {
	for _, line := range c.output() {
		if !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(line, part) }) {
			return line, true
		}
	}
	return "", false
}

// pollEvery is short and cheap compared with every wait.
const pollEvery = 20 * time.Millisecond

// eventually calls ask repeatedly until it returns no error. It fails the test at the timeout, and when one of the
// processes ends.
func eventually(t *testing.T, within time.Duration, what string, ask func() error, on ...*child) {
	t.Helper()
	deadline := time.Now().Add(within)
	for {
		err := ask()
		if err == nil {
			return
		}
		for _, c := range on {
			select {
			case <-c.ended:
				t.Fatalf("%s: %s has ended (%v) before that: %v", what, c.name, c.err, err)
			default:
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %s: %v", what, within, err)
		}
		time.Sleep(pollEvery)
	}
}

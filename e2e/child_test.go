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

// tailLines is how much of a program's log a failed test prints: enough for a panic's stack and what led to it.
const tailLines = 60

// journal keeps what a program has written, across its restarts.
type journal struct {
	name string

	mu    sync.Mutex
	lines []string
	part  []byte // a line that has no end yet
}

// newJournal makes a journal that is printed when the test fails.
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

// Write takes what a program writes.
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

// note writes down what the test itself did to the program.
func (j *journal) note(format string, args ...any) {
	_, _ = fmt.Fprintf(j, "--- "+format+"\n", args...) // Write doesn't fail
}

// since returns the lines from the n-th on.
func (j *journal) since(n int) []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.lines[n:])
}

// child is a process that a test has started.
type child struct {
	*journal
	first int // its first line in the journal
	cmd   *exec.Cmd
	ended chan struct{}
	err   error // of its end; valid when ended is closed
}

// start starts a program. It is killed at the end of the test, should it still run.
func start(t *testing.T, j *journal, env []string, name string, args ...string) *child {
	t.Helper()
	c := &child{journal: j, first: len(j.since(0)), cmd: exec.Command(program(name), args...), ended: make(chan struct{})}
	c.cmd.Env = append(environ(), env...)
	c.cmd.Stdout, c.cmd.Stderr = j, j // one writer for both: lines come in order
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

// environ is the test's environment without what would configure the programs.
func environ() []string {
	return slices.DeleteFunc(os.Environ(), func(kv string) bool {
		return strings.HasPrefix(kv, "WEFT_") || strings.HasPrefix(kv, "JETSTREAM_") || strings.HasPrefix(kv, "AWS_")
	})
}

// kill ends the process with SIGKILL, as a crash or a power loss does, and waits until it is gone.
func (c *child) kill() {
	select {
	case <-c.ended:
		return
	default:
	}
	_ = c.cmd.Process.Kill() // it may end by itself just now
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

// output is what this process has written.
func (c *child) output() []string { return c.since(c.first) }

// line returns the first line with all of these parts in it.
func (c *child) line(parts ...string) (string, bool) {
	for _, line := range c.output() {
		if !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(line, part) }) {
			return line, true
		}
	}
	return "", false
}

// pollEvery is short beside everything that is waited for, and costs nothing beside it.
const pollEvery = 20 * time.Millisecond

// eventually asks again and again until there is no error, and fails the test when one of the processes that the answer
// depends on ends, or time runs out.
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

package e2e

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"testing"
	"time"
)

// TestBrokenPipe: the process itself, not only its code, handles the end of its output's reader: weft demo | head ends
// with the exit code of SIGPIPE, and its directories are removed.
func TestBrokenPipe(t *testing.T) {
	t.Parallel()
	needs(t, buildWeft)
	temporary := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	demo := exec.CommandContext(ctx, program("weft"), "demo", "--listen=127.0.0.1:0")
	demo.Env = append(os.Environ(), "TMPDIR="+temporary)
	output, err := demo.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := demo.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(output).ReadString('\n'); err != nil {
		t.Errorf("%q, %v", line, err)
	}
	if err := output.Close(); err != nil {
		t.Error(err)
	}
	var exit *exec.ExitError
	if err := demo.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 141 {
		t.Errorf("it ended with %v", err)
	}
	if left, err := os.ReadDir(temporary); err != nil || len(left) > 0 {
		t.Errorf("%v is left, %v", left, err)
	}
}

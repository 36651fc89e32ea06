// Command mutate tests the tests of db: it puts one fault after the other into a copy of the tree and expects a test to
// fail. A fault that survives is a hole in the tests, and so is one whose place has moved: both end it with 1.
//
//	go run ./db/mutate            from the root of the module
//	go run ./db/mutate -only seal the faults in whose file or name that occurs
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
)

// quick is the tests that see most faults within seconds; what they let pass meets all of them.
const quick = "Equals|Flap|Turns|Lack|Stack|Set|Filter|Rank|RoundTrip|Bad|Restart|Real|Odd|Frozen|Long|Keeps|Stray|Nothing|Bod|Block|Kill|Hosts|Late|Folding"

// timeLimit is for one run of the tests: a fault may make them hang. All of them take some two minutes on two quiet cores.
const timeLimit = 15 * time.Minute

func main() {
	only := flag.String("only", "", "run the faults in whose file or name this occurs")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *only); err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, only string) error {
	dir, err := os.MkdirTemp("", "mutate")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := copyTree(dir, "."); err != nil {
		return err
	}
	var picked []fault
	for _, f := range faults {
		// All places are looked at first: to learn of one that has moved after minutes would be late.
		if n := strings.Count(read(filepath.Join(dir, f.file)), f.old); n != 1 {
			return fmt.Errorf("%s: %q is there %d times: the fault %q needs a new place", f.file, f.old, n, f.name)
		}
		if strings.Contains(f.file+" "+f.name, only) {
			picked = append(picked, f)
		}
	}
	if failed, err := test(ctx, dir, quick, "./db/..."); failed != "" || err != nil {
		return fmt.Errorf("without a fault, %s fails (%v)", failed, err)
	}
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	survived := 0
	for i, f := range picked {
		start := time.Now()
		by, err := try(ctx, dir, f)
		if err != nil {
			return err
		}
		if by == "" {
			by = "SURVIVED"
			survived++
		}
		fmt.Fprintf(os.Stderr, "%d of %d: %s: %s\n", i+1, len(picked), f.name, by)
		fmt.Fprintf(table, "%s\t%s\t%s\t%.0f s\n", f.file, f.name, by, time.Since(start).Seconds())
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if survived > 0 {
		return fmt.Errorf("%d of %d faults survived", survived, len(picked))
	}
	fmt.Printf("all %d faults were caught\n", len(picked))
	return nil
}

// try tests with a fault in place, and says which test caught it; none did when that is empty.
func try(ctx context.Context, dir string, f fault) (by string, err error) {
	path := filepath.Join(dir, f.file)
	before := read(path)
	if err := os.WriteFile(path, []byte(strings.Replace(before, f.old, f.new, 1)), 0o644); err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, os.WriteFile(path, []byte(before), 0o644)) }()
	build := exec.CommandContext(ctx, "go", "build", "./db/...")
	build.Dir = dir
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("the fault %q does not compile: %w: %s", f.name, err, out)
	}
	for _, stage := range stages(f) {
		by, err := test(ctx, dir, stage.tests, stage.packages)
		if by != "" || err != nil {
			return by, err
		}
	}
	return "", nil
}

// stage is tests that a fault meets.
type stage struct{ tests, packages string }

// stages returns the tests that a fault meets, one after the other: those of its package, which see most faults within
// seconds, those of the store that are quick, and all. A stage links the tests of its packages anew, which takes longer
// than most tests.
func stages(f fault) []stage {
	later := []stage{{quick, "./db"}, {".", "./db/..."}}
	own := "./" + filepath.Dir(f.file)
	if own == "./db" {
		return later
	}
	return append([]stage{{".", own}}, later...)
}

// event is what go test -json says of a test.
type event struct{ Action, Test, Package, Output string }

// test runs tests of packages and names the first that fails, without waiting for the others; none does when that is empty.
func test(ctx context.Context, dir, which, packages string) (failed string, err error) {
	running, stop := context.WithCancel(ctx)
	defer stop()
	cmd := exec.CommandContext(running, "go", "test", "-json", "-failfast", "-vet=off", "-timeout", timeLimit.String(),
		"-run", which,
		"-skip", "TestFaultsFit", packages) // that one fails with every fault
	cmd.Dir = dir
	// The tests are children of go test: an interrupt is to end them all.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", err
	}
	if err := cmd.Start(); err != nil {
		return "", err
	}
	var said strings.Builder
	for d := json.NewDecoder(out); failed == ""; {
		var e event
		if err := d.Decode(&e); err != nil {
			break // the end
		}
		switch said.WriteString(e.Output); e.Action {
		case "fail":
			failed = cmp.Or(e.Test, e.Package)
		case "build-fail":
			failed = e.Action
		}
	}
	if failed != "" {
		stop()
	}
	err = cmd.Wait()
	switch {
	case ctx.Err() != nil:
		return "", ctx.Err()
	case failed == "build-fail":
		return "", fmt.Errorf("go test: the tests don't compile: %s", said.String())
	case failed == "" && err != nil:
		return "", fmt.Errorf("go test: %w: %s", err, said.String())
	}
	return failed, nil
}

func read(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return "" // no text is in it, which says so
	}
	return string(data)
}

// copyTree copies the module without what git keeps for itself.
func copyTree(to, from string) error {
	return filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.Name() == ".git":
			if e.IsDir() {
				return fs.SkipDir
			}
			return nil
		case e.IsDir():
			return os.MkdirAll(filepath.Join(to, path), 0o755)
		case !e.Type().IsRegular():
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, path), data, 0o644)
	})
}

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
)

const module = "weft.dev/weft"

// tester runs tests with a fault in place.
type tester struct {
	root      string              // the module's absolute directory
	dir       string              // of changed files and of test programs
	importers map[string][]string // by package, the packages whose tests depend on it, itself excluded, as "./db"

	mu       sync.Mutex
	programs map[string]func() (path string, err error) // build test programs, by overlay and package
}

func newTester(ctx context.Context) (*tester, error) {
	root, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	t := &tester{root: root, importers: map[string][]string{}, programs: map[string]func() (string, error){}}
	list := exec.CommandContext(ctx, "go", "list", "-test", "-f", `{{.ImportPath}} {{join .Deps " "}}`, "./...")
	list.Stderr = os.Stderr
	out, err := list.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		name, isProgram := strings.CutSuffix(fields[0], ".test") // with all that the tests depend on
		if !isProgram {
			continue
		}
		for _, dep := range fields[1:] {
			if dep != name && strings.HasPrefix(dep, module+"/") {
				dep, name := local(dep), local(name)
				t.importers[dep] = append(t.importers[dep], name)
			}
		}
	}
	t.dir, err = os.MkdirTemp("", "mutate")
	return t, err
}

// local returns the name of a package of the module as the go command takes it: "./db" for "weft.dev/weft/db".
func local(path string) string { return "." + strings.TrimPrefix(path, module) }

// overlays writes the changed files of faults, and returns the files that name them to the go command: that of all
// faults in Go files, and one for each fault. Faults in other files, such as SQL, have their own.
func (t *tester) overlays(picked []fault) (inGo string, overlays []string, err error) {
	overlays = make([]string, len(picked))
	numbers := map[int]fault{}
	for i, f := range picked {
		if filepath.Ext(f.file) == ".go" {
			numbers[i+1] = f
			continue
		}
		text, err := os.ReadFile(filepath.Join(t.root, f.file))
		if err != nil {
			return "", nil, err
		}
		changed := map[string]string{f.file: strings.Replace(string(text), f.old, f.new, 1)}
		overlays[i], err = t.overlay(strconv.Itoa(i+1), changed)
		if err != nil {
			return "", nil, err
		}
	}
	changed, err := instrument(t.root, numbers)
	if err != nil {
		return "", nil, err
	}
	inGo, err = t.overlay("go", changed)
	for number := range numbers {
		overlays[number-1] = inGo
	}
	return inGo, overlays, err
}

// overlay writes changed files, and the file that names them to the go command.
func (t *tester) overlay(name string, changed map[string]string) (path string, err error) {
	replace := map[string]string{}
	for i, file := range slices.Sorted(maps.Keys(changed)) {
		to := filepath.Join(t.dir, fmt.Sprintf("%s-%d%s", name, i, filepath.Ext(file)))
		err := os.WriteFile(to, []byte(changed[file]), 0o600)
		if err != nil {
			return "", err
		}
		replace[filepath.Join(t.root, file)] = to
	}
	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	path = filepath.Join(t.dir, name+".json")
	return path, os.WriteFile(path, text, 0o600)
}

// program builds the test program of a package once, and returns its path. A package without tests has no file there.
func (t *tester) program(ctx context.Context, overlay, in string) (path string, err error) {
	t.mu.Lock()
	key := overlay + " " + in
	build := t.programs[key]
	if build == nil {
		to := filepath.Join(t.dir, fmt.Sprintf("%d.test", len(t.programs)))
		build = sync.OnceValues(func() (string, error) { return to, t.build(ctx, overlay, in, to) })
		t.programs[key] = build
	}
	t.mu.Unlock()
	return build()
}

func (t *tester) build(ctx context.Context, overlay, in, to string) error {
	cmd := exec.CommandContext(ctx, "go", "test", "-c", "-vet=off", "-ldflags=-s -w", "-o", to, in)
	cmd.Env = t.environment(overlay, 0)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("build the tests of %s: %w: %s", in, err, out)
	}
	return nil
}

// buildAll builds the packages of db with all faults in their Go files.
func (t *tester) buildAll(ctx context.Context, overlay string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "./db/...")
	cmd.Env = t.environment(overlay, 0)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("build with the faults: %w: %s", err, out)
	}
	return nil
}

// environment selects a fault. The overlay is in GOFLAGS, so that tests which build weft build it with the faults.
func (t *tester) environment(overlay string, number int) []string {
	return append(os.Environ(), "GOFLAGS="+os.Getenv("GOFLAGS")+" -overlay="+overlay, variable+"="+strconv.Itoa(number))
}

// withoutFault runs the tests that the faults name, and returns an error if one fails without any fault.
func (t *tester) withoutFault(ctx context.Context, picked []fault, inGo string) error {
	names := map[string][]string{} // by package
	for _, f := range picked {
		if f.test != "" {
			in, name := f.splitTest()
			names[in] = append(names[in], name)
		}
	}
	for _, in := range slices.Sorted(maps.Keys(names)) {
		failed, err := t.run(ctx, inGo, 0, "^("+strings.Join(names[in], "|")+")$", in)
		if err != nil {
			return err
		}
		if failed != "" {
			return fmt.Errorf("without a fault, %s fails: fix it first", failed)
		}
	}
	return nil
}

// try tests with a fault in place. It returns the test that caught it, as fault.test; empty: none did.
func (t *tester) try(ctx context.Context, overlay string, number int, f fault) (by string, err error) {
	if f.test != "" {
		in, name := f.splitTest()
		by, err = t.run(ctx, overlay, number, "^"+name+"$", in)
		if by == "" && err == nil && in == "./db" { // its default sizes are a sixth, and .ci/run has the full ones
			by, err = t.run(ctx, overlay, number, "^"+name+"$", in, "-thorough")
		}
		if by != "" || err != nil {
			return by, err
		}
	}
	own := "./" + filepath.Dir(f.file)
	for _, in := range append([]string{own}, t.importers[own]...) {
		by, err = t.run(ctx, overlay, number, ".", in)
		if by != "" || err != nil {
			return by, err
		}
	}
	return "", nil
}

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"weft.dev/weft/bench/common"
	"weft.dev/weft/db/memlimit"
)

// Each part runs in its own process, so that its memory can be measured and it can be killed. The environment has the
// part and its options.
const (
	roleVariable    = "WEFT_BENCH_ROLE"
	optionsVariable = "WEFT_BENCH_OPTIONS"
)

// roles are the parts.
var roles = map[string]func(context.Context, options) (any, error){
	"generate": generateChild,
	"ingest":   ingestChild,
	"victim":   victimChild,
	"open":     openChild,
}

// childMain is the main function of a child: it prints its measurements.
func childMain(ctx context.Context, role string) error {
	memlimit.PaceGC() // as weft serve: its memory depends on it
	var o options
	if err := json.Unmarshal([]byte(os.Getenv(optionsVariable)), &o); err != nil {
		return err
	}
	out, err := roles[role](ctx, o)
	if err != nil {
		return fmt.Errorf("%s: %w", role, err)
	}
	return json.NewEncoder(os.Stdout).Encode(out)
}

func childCommand(ctx context.Context, role string, o options) (*exec.Cmd, error) {
	text, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	cmd, err := common.Self(ctx)
	if err != nil {
		return nil, err
	}
	cmd.Env = append(os.Environ(), roleVariable+"="+role, optionsVariable+"="+string(text))
	return cmd, nil
}

// child runs a part and decodes its measurements.
func child(ctx context.Context, role string, o options, out any) error {
	fmt.Fprintf(os.Stderr, "%s, load %s\n", role, loadAverage())
	cmd, err := childCommand(ctx, role, o)
	if err != nil {
		return err
	}
	var stdout bytes.Buffer
	cmd.Stdout = &stdout
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w", role, err)
	}
	return json.Unmarshal(stdout.Bytes(), out)
}

// generateChild writes the generated events to a file for the other parts.
func generateChild(_ context.Context, o options) (any, error) {
	g, err := generate(o)
	if err != nil {
		return nil, err
	}
	return g, writeJSON(o.Dir, generatedFile, g)
}

func writeJSON(dir, name string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, name), data, 0o644)
}

func readJSON(dir, name string, v any) error {
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return err
	}
	return json.Unmarshal(data, v)
}

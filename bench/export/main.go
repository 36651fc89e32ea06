// Command export measures weft export: links a second, bytes per link and peak memory of the process.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/urfave/cli/v3"

	"weft.dev/weft/bench/common"
	"weft.dev/weft/db/inspect"
)

const description = `Fills a data directory with simulated events, one account for every 20 links, builds cmd/weft and
runs its export in each way. Memory is the peak of the resident set of that process.

  go run ./bench/export                                   a million links: half a minute
  go run ./bench/export --bodies                          with what records hold
  go run ./bench/export --links 10000000 --data /data/ten ten million, in a directory that is kept, and taken
                                                          as it is the next time`

func main() { common.Main("export", runCommand) }

func runCommand(ctx context.Context) error {
	var links int64
	var data string
	var bodies bool
	cmd := &cli.Command{
		Name: "export", Usage: "measure weft export", Description: description, HideHelpCommand: true,
		Flags: []cli.Flag{
			&cli.Int64Flag{Name: "links", Usage: "number of links to generate", Value: 1_000_000, Destination: &links},
			&cli.StringFlag{Name: "data", Usage: "a new or existing data `DIRECTORY` (default: a temporary one)",
				Destination: &data},
			&cli.BoolFlag{Name: "bodies", Usage: "keep and export bodies", Destination: &bodies},
		},
		Action: func(ctx context.Context, _ *cli.Command) error { return measure(ctx, links, data, bodies) },
	}
	return cmd.Run(ctx, os.Args)
}

func measure(ctx context.Context, links int64, data string, bodies bool) error {
	work, err := os.MkdirTemp("", "weft-bench-export-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	if data == "" {
		data = filepath.Join(work, "data")
	}
	if _, err := os.Stat(filepath.Join(data, "weft.db")); errors.Is(err, os.ErrNotExist) {
		if err := common.Fill(ctx, data, links, bodies); err != nil {
			return err
		}
	}
	in, err := inspect.Run(ctx, data)
	if err != nil {
		return err
	}
	weft, err := common.Build(ctx, work)
	if err != nil {
		return err
	}
	total := int64(0)
	for _, s := range in.Segments {
		total += s.Links
	}
	fmt.Printf("%d accounts, %d segments with %d links, %d log rows in none\n", in.Actors, len(in.Segments), total,
		in.Log.Unsealed)
	fmt.Printf("%-22s %10s %8s %12s %9s %9s\n", "", "links", "s", "links/s", "B/link", "RSS, MB")
	for _, format := range []string{"", "ndjson", "parquet"} {
		name := "ndjson to a file"
		out := ""
		args := []string{"export", "--data", data}
		if format != "" {
			name = format + ", --out"
			out = filepath.Join(work, format)
			args = append(args, "--format", format, "--out", out)
		}
		if bodies {
			args = append(args, "--bodies")
		}
		if err := export(name, filepath.Join(work, "stdout"), out, exec.CommandContext(ctx, weft, args...)); err != nil {
			return err
		}
	}
	return nil
}

// export runs the program once.
func export(name, stdout, out string, cmd *exec.Cmd) error {
	file, err := os.Create(stdout)
	if err != nil {
		return err
	}
	defer file.Close()
	cmd.Stdout = file
	cmd.Stderr = os.Stderr
	start := time.Now()
	rss, err := common.Run(cmd)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	took := time.Since(start).Seconds()
	links, bytes, err := measured(stdout, out)
	if err != nil {
		return err
	}
	fmt.Printf("%-22s %10d %8.2f %12.0f %9.1f %9d\n", name, links, took, float64(links)/took,
		float64(bytes)/float64(links), rss/1000)
	return nil
}

// measured returns the number of exported links and their bytes.
func measured(stdout, out string) (links, bytes int64, err error) {
	if out == "" {
		return lines(stdout)
	}
	text, err := os.ReadFile(filepath.Join(out, "_export.json"))
	if err != nil {
		return 0, 0, err
	}
	var list struct {
		Links int64
		Parts []struct{ Bytes int64 }
	}
	err = json.Unmarshal(text, &list)
	for _, p := range list.Parts {
		bytes += p.Bytes
	}
	return list.Links, bytes, err
}

// lines returns the number of lines of a file and its bytes.
func lines(path string) (lines, size int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	buf := make([]byte, 1<<20)
	for {
		n, err := f.Read(buf)
		lines = lines + int64(bytes.Count(buf[:n], []byte("\n")))
		size = size + int64(n)
		if errors.Is(err, io.EOF) {
			return lines, size, nil
		}
		if err != nil {
			return 0, 0, err
		}
	}
}

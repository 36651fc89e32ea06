package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
)

// askWeft posts to a route on the socket of the weft that has a data directory open. It passes progress lines to
// progress and returns the last line of the answer.
func askWeft(ctx context.Context, dir, route string, progress func(text string)) (line controlLine, err error) {
	fail := func(err error) (controlLine, error) {
		return controlLine{}, fmt.Errorf("ask the weft that has %s open: %w", dir, err)
	}
	path, release, err := socketPath(dir)
	if err != nil {
		return fail(err)
	}
	defer release()
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn,
		error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
		if err != nil {
			err = fmt.Errorf("%w; it is a follower, is opening its index, or another command: try again when it serves", err)
		}
		return conn, err
	}}}
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://weft"+route, nil)
	if err != nil {
		return fail(err)
	}
	res, err := client.Do(req)
	if err != nil {
		return fail(err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return fail(fmt.Errorf("it answers %s", res.Status))
	}
	for lines := json.NewDecoder(bufio.NewReader(res.Body)); ; {
		line = controlLine{}
		err := lines.Decode(&line)
		if err != nil {
			return fail(fmt.Errorf("it ended before its answer: %w", err))
		}
		if line.Progress == "" {
			return line, nil
		}
		progress(line.Progress)
	}
}

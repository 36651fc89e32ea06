package ingest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// dictionaryMagic begins a zstd dictionary (RFC 8878, section 5).
var dictionaryMagic = []byte{0x37, 0xA4, 0x30, 0xEC}

const (
	// maxDictionary bounds a dictionary: servers have a hundred kB.
	maxDictionary = 1 << 20
	// probeFails is how many sessions in a row fail before a server that answers in error, or spoke v2 before, is asked
	// for v1: a v2 server that restarts answers so for seconds, and its v1 stream lacks resyncs.
	probeFails = 3
)

// spoken is what a server speaks.
type spoken struct {
	kind    string
	dict    []byte // of v2; nil: none
	stopgap error  // of v1: why v2 couldn't be asked for, which may pass; nil: it speaks v1 only
}

// probe finds out what a server speaks: by v2's dictionary, and where the answer doesn't say, by opening the streams.
func (e *endpoint) probe(ctx context.Context, wasV2 bool, fails int) (spoken, error) {
	status, body, err := e.getDictionary(ctx)
	patient := fails < probeFails
	switch {
	case err != nil && status == 0:
		return spoken{}, err
	case status == http.StatusOK && bytes.HasPrefix(body, dictionaryMagic):
		return spoken{kind: kindV2, dict: body}, nil
	case status == http.StatusOK: // a server without a dictionary, or a proxy that answers anything so
		err = e.opens(ctx, kindV2)
		if err == nil {
			return spoken{kind: kindV2}, nil
		}
		err = fmt.Errorf("it answers v2 methods with 200, but has no v2 stream: %w", err)
	case status == http.StatusNotFound, status == http.StatusMethodNotAllowed, status == http.StatusNotImplemented:
		return spoken{kind: kindV1}, nil
	}
	passing := status >= 500 || status == http.StatusTooManyRequests
	if ctx.Err() != nil || patient && (wasV2 || passing) {
		return spoken{}, err
	}
	if e.opens(ctx, kindV1) != nil {
		return spoken{}, err
	}
	s := spoken{kind: kindV1}
	if wasV2 || passing {
		s.stopgap = err
	}
	return s, nil
}

// getDictionary asks for v2's dictionary. A status is an answer; an error beside it says what it was.
func (e *endpoint) getDictionary(ctx context.Context) (status int, body []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, e.url+"/xrpc/network.bsky.jetstream.getZstdDictionary", nil)
	if err != nil {
		return 0, nil, err
	}
	e.authorize(req.Header)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return res.StatusCode, nil, refused(res)
	}
	body, err = io.ReadAll(io.LimitReader(res.Body, maxDictionary))
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, body, nil
}

// opens opens a stream of a kind and closes it again.
func (e *endpoint) opens(ctx context.Context, kind string) error {
	l, err := dialLive(ctx, *e, kind, nil, 0, nil)
	var said *streamError
	switch {
	case err == nil:
		l.close()
		return nil
	case kind == kindV2 && errors.As(err, &said): // an answer of an XRPC method
		return nil
	}
	return err
}

package upstream

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
	// ProbeFails is how many sessions in a row fail before a server that answers in error, or spoke v2 before, is asked
	// for v1: a v2 server that restarts answers so for seconds, and its v1 stream lacks resyncs.
	ProbeFails = 3
)

// Protocol is what a server speaks.
type Protocol struct {
	Kind       string
	Dictionary []byte // of v2; nil: none
	Stopgap    error  // of v1: why v2 couldn't be asked for, which may pass; nil: it speaks v1 only
}

// Probe finds out what a server speaks: by v2's dictionary, and where the answer doesn't say, by opening the streams.
func (e Endpoint) Probe(ctx context.Context, wasV2 bool, fails int) (Protocol, error) {
	status, body, err := e.getDictionary(ctx)
	patient := fails < ProbeFails
	switch {
	case err != nil && status == 0:
		return Protocol{}, err
	case status == http.StatusOK && bytes.HasPrefix(body, dictionaryMagic):
		return Protocol{Kind: KindV2, Dictionary: body}, nil
	case status == http.StatusOK: // a server without a dictionary, or a proxy that answers anything so
		err = e.opens(ctx, KindV2)
		if err == nil {
			return Protocol{Kind: KindV2}, nil
		}
		err = fmt.Errorf("it answers v2 methods with 200, but has no v2 stream: %w", err)
	case status == http.StatusNotFound, status == http.StatusMethodNotAllowed, status == http.StatusNotImplemented:
		return Protocol{Kind: KindV1}, nil
	}
	passing := status >= 500 || status == http.StatusTooManyRequests
	if ctx.Err() != nil || patient && (wasV2 || passing) {
		return Protocol{}, err
	}
	if e.opens(ctx, KindV1) != nil {
		return Protocol{}, err
	}
	s := Protocol{Kind: KindV1}
	if wasV2 || passing {
		s.Stopgap = err
	}
	return s, nil
}

// getDictionary asks for v2's dictionary. A status is an answer; an error beside it says what it was.
func (e Endpoint) getDictionary(ctx context.Context) (status int, body []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, e.URL+"/xrpc/network.bsky.jetstream.getZstdDictionary", nil)
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
func (e Endpoint) opens(ctx context.Context, kind string) error {
	l, err := Dial(ctx, e, kind, nil, 0, Filter{})
	var said *StreamError
	switch {
	case err == nil:
		l.Close()
		return nil
	case kind == KindV2 && errors.As(err, &said): // an answer of an XRPC method
		return nil
	}
	return err
}

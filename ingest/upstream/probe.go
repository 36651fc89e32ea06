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
	// maxDictionary bounds a dictionary. Servers have about 100 kB.
	maxDictionary = 1 << 20
	// ProbeFails is the number of sessions in a row that must fail before weft tries v1 on a server that answers with
	// errors or that spoke v2 before. A v2 server that restarts answers with errors for seconds, and its v1 stream
	// lacks resyncs.
	ProbeFails = 3
)

// Protocol is the protocol of a server.
type Protocol struct {
	Kind       string
	Dictionary []byte // of v2; nil: none
	Stopgap    error  // of v1: why v2 can't be used for now; nil: the server speaks v1 only
}

// Probe finds the protocol of a server: it asks for v2's dictionary and, if the answer isn't clear, opens the streams.
// wasV2 means that the server spoke v2 before; fails is the number of sessions in a row that have failed.
func (e Endpoint) Probe(ctx context.Context, wasV2 bool, fails int) (Protocol, error) {
	status, body, err := e.getDictionary(ctx)
	switch {
	case err != nil && status == 0:
		return Protocol{}, err
	case status == http.StatusOK && bytes.HasPrefix(body, dictionaryMagic):
		return Protocol{Kind: KindV2, Dictionary: body}, nil
	case status == http.StatusOK: // a server without a dictionary, or a proxy that answers all paths with 200
		err = e.opens(ctx, KindV2)
		if err == nil {
			return Protocol{Kind: KindV2}, nil
		}
		err = fmt.Errorf("it answers v2 methods with 200, but has no v2 stream: %w", err)
	case status == http.StatusNotFound, status == http.StatusMethodNotAllowed, status == http.StatusNotImplemented:
		return Protocol{Kind: KindV1}, nil
	}
	mayPass := wasV2 || status >= 500 || status == http.StatusTooManyRequests
	if ctx.Err() != nil || mayPass && fails < ProbeFails || e.opens(ctx, KindV1) != nil {
		return Protocol{}, err
	}
	p := Protocol{Kind: KindV1}
	if mayPass {
		p.Stopgap = err
	}
	return p, nil
}

// getDictionary asks for v2's dictionary. status is 0 without an answer; err describes any answer other than 200.
func (e Endpoint) getDictionary(ctx context.Context) (status int, body []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	u := e.URL + "/xrpc/network.bsky.jetstream.getZstdDictionary"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u, nil)
	if err != nil {
		return 0, nil, err
	}
	e.authorize(req.Header)
	res, err := e.client().Do(req)
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

// opens tries to open a stream of a kind. It returns nil if the stream opens.
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

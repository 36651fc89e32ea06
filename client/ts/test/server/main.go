// Command server serves an index on loopback for the tests of the TypeScript client, which fill it. It prints its URL,
// and ends when its standard input ends. POST /test/apply applies a JSON array of events.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"

	"weft.dev/weft/api"
	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/link"
)

func main() {
	err := run(os.Stdin, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "server:", err)
		os.Exit(1)
	}
}

func run(stdin io.Reader, stdout io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "weft-test-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	store, err := db.Open(db.Config{Dir: dir, Bodies: db.BodiesKeep})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	handler := api.New(api.Config{Store: store, Logger: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan struct{})
	go func() { defer close(ran); _ = handler.Run(ctx) }()
	defer func() { cancel(); <-ran }()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("POST /test/apply", &applier{store: store})
	mux.Handle("/", handler)
	server := &http.Server{Handler: mux}
	go func() { _ = server.Serve(listener) }()
	defer func() { _ = server.Close() }()
	fmt.Fprintf(stdout, "http://%s\n", listener.Addr())
	_, err = io.Copy(io.Discard, stdin)
	return err
}

// ops are the operations of events by name.
var ops = map[string]db.Op{
	"create": db.OpCreate, "update": db.OpUpdate, "delete": db.OpDelete, "account": db.OpAccount,
}

// event is an event in the JSON of the tests.
type event struct {
	Op         string
	DID        string
	Collection string
	Rkey       string
	Links      []db.Link
	Status     db.Status // of an account
	Body       []byte    // DAG-CBOR, in base64
}

// applier applies the events of requests. Requests must not be concurrent.
type applier struct {
	store *db.Store
	n     uint64 // number of the last event
}

func (a *applier) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	err := a.apply(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (a *applier) apply(body io.Reader) error {
	var events []event
	err := json.NewDecoder(body).Decode(&events)
	if err != nil {
		return err
	}
	batch := db.Batch{Host: "https://jetstream.example"}
	for _, e := range events {
		op, ok := ops[e.Op]
		if !ok {
			return fmt.Errorf("%q is no operation", e.Op)
		}
		a.n++
		us := 1_770_000_000_000_000 + a.n*1_000_000 // one second after the previous event, in February 2026
		batch.Events = append(batch.Events, apply.Event{Seq: a.n, TimeUS: int64(us), Op: op, DID: e.DID,
			Collection: e.Collection,
			Rkey:       e.Rkey, Rev: string(link.AppendTID(nil, us<<10)), Links: e.Links, Status: e.Status, Body: e.Body})
	}
	_, err = a.store.Apply(batch)
	return err
}

// Package e2e tests the weft program as an operator meets it: the binary, its flags, its HTTP API, its signals and its
// data directory, with processes that are killed at any moment.
//
// TestServeProcess follows the synthetic network of ingest/sim, which has skew, account changes, resyncs and odd
// records. TestRealJetstream follows Jetstream's own server with its own network simulator, both pinned in
// tools/go.mod, and tests the wire, the archive and the life cycle. Each ends at a fixed point, where all counts and
// lists are compared with the reference model over HTTP.
//
// With -short, all tests that start weft are skipped. Without -stock, TestRealJetstream and the other tests with
// programs of other projects are skipped. The first build of the Jetstream tools takes minutes and, when they aren't in
// the module cache, the network.
package e2e

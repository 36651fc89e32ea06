// Package sim is a small AT Protocol network and a small Jetstream server in front of it, for the demo, for tests and
// for benchmarks.
//
// [Network] makes events: a deterministic, lively, linked network in the proportions of the real one. The same
// configuration gives the same bytes for ever, so that a test makes a second Network and knows what a consumer must
// have ended with.
//
// [Server] serves a Network's events on loopback with both wires of Jetstream: v2 (subscribeEvents, the archive of
// sealed segments, the zstd dictionary) as the official client speaks it, and v1 (/subscribe). [Faults] and the methods
// of Server make it misbehave in the ways that real upstreams do.
//
// Figures of the mix (shares of collections and operations, sizes) are from a sample of the public network in 2026;
// where a figure is only a choice, the constant's comment gives the reason.
package sim

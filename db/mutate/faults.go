package main

import "slices"

// fault is a change of one line, whose old text is in its file exactly once.
type fault struct {
	name     string // what it breaks
	file     string
	old, new string
	test     string // that catches it: its package in the module, a dot, its name
}

// faults are the faults of all files.
var faults = slices.Concat(applyFaults, indexFaults)

package main

import (
	"os"
	"testing"
	"time"
)

// TestProcessorOf compares the processor time of /proc with that of getrusage.
func TestProcessorOf(t *testing.T) {
	t.Parallel()
	for processor() < 50*time.Millisecond { // several ticks
	}
	before := processor()
	took, err := processorOf(os.Getpid())
	after := processor()
	const ticks = 20 * time.Millisecond // one of each of the two counts
	if err != nil || took < before-ticks || took > after+ticks {
		t.Errorf("%v, %v, where the process has taken %v to %v", took, err, before, after)
	}
}

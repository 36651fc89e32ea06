package main

import (
	"slices"
	"time"
)

// quantiles is the distribution of some times.
type quantiles struct {
	N   int           `json:"n"`
	P50 time.Duration `json:"p50_ns"`
	P99 time.Duration `json:"p99_ns"`
	Max time.Duration `json:"max_ns"`
}

func quantilesOf(took []time.Duration) quantiles {
	if len(took) == 0 {
		return quantiles{}
	}
	slices.Sort(took)
	return quantiles{len(took), took[len(took)/2], took[len(took)*99/100], took[len(took)-1]}
}

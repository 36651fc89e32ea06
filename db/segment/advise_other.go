//go:build !linux

package segment

import "os"

// Other systems keep their own readahead.
func adviseRandom(*os.File) {}

func adviseSoon(*os.File, int64, int64) {}

package memlimit

import (
	"io/fs"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"
)

// cgroupMemory returns the least limit of memory of the process's control groups and their parents, in bytes;
// math.MaxInt64: there is none. root is the root of the file system. It reads version 2, and version 1 where memory is
// still in its hierarchy. In a container the path of a group may be the host's: then only its parents exist.
func cgroupMemory(root fs.FS) int64 {
	least := int64(math.MaxInt64)
	text, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		text = []byte("0::/")
	}
	for line := range strings.Lines(string(text)) {
		_, rest, _ := strings.Cut(strings.TrimSpace(line), ":") // the number of the hierarchy
		controllers, group, _ := strings.Cut(rest, ":")
		mount := "sys/fs/cgroup"
		file := "memory.max"
		switch {
		case controllers == "":
		case slices.Contains(strings.Split(controllers, ","), "memory"):
			mount += "/memory"
			file = "memory.limit_in_bytes"
		default:
			continue
		}
		for group = path.Join("/", group); ; group = path.Dir(group) {
			if n := readBytes(root, path.Join(mount, group, file)); n > 0 {
				least = min(least, n)
			}
			if group == "/" {
				break
			}
		}
	}
	return least
}

// readBytes reads a file that holds one number; 0: it holds another text, such as max, or does not exist.
func readBytes(root fs.FS, name string) int64 {
	text, err := fs.ReadFile(root, name)
	if err != nil {
		return 0
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

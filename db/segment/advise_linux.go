package segment

import (
	"os"

	"golang.org/x/sys/unix"
)

// adviseRandom turns the kernel's readahead off for a file. A look-up reads a leaf page and the overflow page that
// often follows it; the kernel takes this for the beginning of a sequential read, and reads four pages in place of one.
// It is advice: an error changes no answer.
func adviseRandom(file *os.File) { advise(file, 0, 0, unix.FADV_RANDOM) }

// adviseSoon makes the kernel begin to read a range of a file.
func adviseSoon(file *os.File, from, length int64) { advise(file, from, length, unix.FADV_WILLNEED) }

func advise(file *os.File, from, length int64, advice int) {
	conn, err := file.SyscallConn()
	if err != nil {
		return
	}
	_ = conn.Control(func(fd uintptr) { _ = unix.Fadvise(int(fd), from, length, advice) })
}

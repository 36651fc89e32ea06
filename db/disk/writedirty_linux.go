package disk

import (
	"os"

	"golang.org/x/sys/unix"
)

// WriteDirty writes the dirty pages of a file to the disk, and waits for them. It neither commits the journal of the
// file system nor flushes the disk's own cache, which a sync does. It is advice: an error changes no content.
func WriteDirty(file *os.File) {
	conn, err := file.SyscallConn()
	if err != nil {
		return
	}
	_ = conn.Control(func(fd uintptr) {
		_ = unix.SyncFileRange(int(fd), 0, 0,
			unix.SYNC_FILE_RANGE_WAIT_BEFORE|unix.SYNC_FILE_RANGE_WRITE|unix.SYNC_FILE_RANGE_WAIT_AFTER)
	})
}

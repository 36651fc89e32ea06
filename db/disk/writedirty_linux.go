package disk

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// WriteDirty writes the dirty pages of a file to the disk, and waits for them. It neither commits the journal of the
// file system nor flushes the disk's own cache, which a sync does. Its error is that of a write: a later sync by
// another descriptor doesn't report it. Where the file system or the sandbox has no such call, WriteDirty does nothing.
func WriteDirty(file *os.File) error {
	conn, err := file.SyscallConn()
	if err != nil {
		return err
	}
	controlErr := conn.Control(func(fd uintptr) {
		err = unix.SyncFileRange(int(fd), 0, 0,
			unix.SYNC_FILE_RANGE_WAIT_BEFORE|unix.SYNC_FILE_RANGE_WRITE|unix.SYNC_FILE_RANGE_WAIT_AFTER)
	})
	for _, unsupported := range []error{unix.ENOSYS, unix.EOPNOTSUPP, unix.EINVAL, unix.ESPIPE, unix.EPERM} {
		if errors.Is(err, unsupported) {
			err = nil
		}
	}
	if err != nil {
		return os.NewSyscallError("sync_file_range", err)
	}
	return controlErr
}

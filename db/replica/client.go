// Package replica keeps a copy of an index where a lost disk doesn't reach it: in a directory, in a bucket or on another
// host, in the format of Litestream, whose own program restores all of it. It is the only package that imports Litestream,
// whose library may change with any version.
//
// A replica lies beneath one path:
//
//	PATH                  weft.db, continuously, as stock Litestream has it
//	PATH/segments/X.weft  each segment once, as a database with one snapshot
//	PATH/instance         whose replica it is: a database with one row
//	PATH/lease/N          who writes there: the file with the highest number
package replica

import (
	"errors"
	"fmt"
	"log/slog"
	"path"
	"path/filepath"

	"github.com/benbjohnson/litestream"
	"github.com/benbjohnson/litestream/file"
	"github.com/benbjohnson/litestream/s3"
	"github.com/benbjohnson/litestream/sftp"
)

// Places beneath a replica's path.
const (
	segmentsSub = "segments"
	instanceSub = "instance"
)

// SegmentSub is the place of a segment file beneath a replica's path.
func SegmentSub(name string) string { return path.Join(segmentsSub, name) }

// Client is a client of the replica: of the main database with an empty sub, else of the database at sub beneath it. It gives
// up each request that makes no progress.
func (c Config) Client(sub string) (litestream.ReplicaClient, error) {
	client, err := c.client(sub)
	if err != nil {
		return nil, err
	}
	b := bound(client, func() (litestream.ReplicaClient, error) { return c.client(sub) })
	b.patience = c.patience
	return b, nil
}

// client is Litestream's own client.
func (c Config) client(sub string) (litestream.ReplicaClient, error) {
	quiet := slog.New(slog.DiscardHandler) // what fails is an error, and said once
	at, err := c.at(sub)
	if err != nil {
		return nil, err
	}
	switch c.Type {
	case "file":
		client := file.NewReplicaClient(at)
		client.SetLogger(quiet)
		return client, nil
	case "s3":
		client := c.s3()
		client.Path = at
		client.SetLogger(quiet)
		return client, nil
	case "sftp":
		client := sftp.NewReplicaClient()
		client.Host, client.User, client.Password, client.Path = c.Host, c.User, c.Password, at
		client.KeyPath, client.HostKey = c.KeyPath, c.HostKey
		if c.ConcurrentWrites != nil {
			client.ConcurrentWrites = *c.ConcurrentWrites
		}
		client.SetLogger(quiet)
		return client, nil
	}
	return nil, fmt.Errorf("replica: no client for the type %q", c.Type)
}

// at is the path of a database beneath the replica's.
func (c Config) at(sub string) (string, error) {
	switch {
	case sub == "":
		return c.Path, nil
	case !filepath.IsLocal(sub):
		return "", fmt.Errorf("replica: %q leads out of the replica", sub)
	case c.Type == "file":
		return filepath.Join(c.Path, filepath.FromSlash(sub)), nil
	}
	return path.Join(c.Path, sub), nil
}

// retarget points a client that nobody uses at another database, so that its connections serve for many.
func (c Config) retarget(client litestream.ReplicaClient, sub string) (litestream.ReplicaClient, error) {
	at, err := c.at(sub)
	if err != nil {
		return nil, err
	}
	b, ok := client.(*boundedClient)
	if !ok {
		return nil, errors.New("replica: unexpected type of client")
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch client := b.client.(type) {
	case *s3.ReplicaClient:
		client.Path = at
	case *sftp.ReplicaClient:
		client.Path = at
	default:
		b.stale = true // a directory has no connection
	}
	b.renew = func() (litestream.ReplicaClient, error) { return c.client(sub) }
	return b, nil
}

// s3 makes a client as stock Litestream does: services that speak S3 differ in what they take.
func (c Config) s3() *s3.ReplicaClient {
	client := s3.NewReplicaClient()
	client.AccessKeyID, client.SecretAccessKey = c.AccessKeyID, c.SecretAccessKey
	client.Bucket, client.Region, client.Endpoint = c.Bucket, c.Region, c.Endpoint
	client.SkipVerify, client.StorageClass = c.SkipVerify, c.StorageClass
	client.ForcePathStyle = c.Endpoint != "" // only AWS does without both
	client.PartSize, client.Concurrency = defaultPartSize, defaultConcurrency
	switch {
	case litestream.IsTigrisEndpoint(c.Endpoint):
		client.RequireContentMD5 = false
		client.PartSize = s3.DefaultTigrisPartSize
	case litestream.IsFilebaseEndpoint(c.Endpoint), litestream.IsBackblazeEndpoint(c.Endpoint), litestream.IsMinIOEndpoint(c.Endpoint),
		litestream.IsSupabaseEndpoint(c.Endpoint), litestream.IsNeonEndpoint(c.Endpoint):
		client.ForcePathStyle = true
	}
	if c.ForcePathStyle != nil {
		client.ForcePathStyle = *c.ForcePathStyle
	}
	if c.SignPayload != nil {
		client.SignPayload = *c.SignPayload
	}
	if c.RequireContentMD5 != nil {
		client.RequireContentMD5 = *c.RequireContentMD5
	}
	if c.PartSize != 0 {
		client.PartSize = c.PartSize
	}
	if c.Concurrency != 0 {
		client.Concurrency = c.Concurrency
	}
	return client
}

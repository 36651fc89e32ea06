package config

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/benbjohnson/litestream"
	litestreams3 "github.com/benbjohnson/litestream/s3"
)

// s3Objects are the objects of a bucket beneath a path.
type s3Objects struct {
	cfg Config

	unconditional atomic.Bool // the service does not know If-None-Match

	mu  sync.Mutex
	api *s3.Client
}

// client returns an SDK client with the settings of Litestream's client, which does not export its own.
func (o *s3Objects) client(ctx context.Context) (*s3.Client, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.api != nil {
		return o.api, nil
	}
	like := o.cfg.s3()
	cfg, err := loadAWS(ctx, like)
	if err != nil {
		return nil, err
	}
	o.api = s3.NewFromConfig(cfg, func(to *s3.Options) {
		to.UsePathStyle = like.ForcePathStyle
		to.UseARNRegion = true
		if like.Endpoint != "" {
			endpoint := like.Endpoint
			if !strings.Contains(endpoint, "://") {
				endpoint = "https://" + endpoint
			}
			to.BaseEndpoint = aws.String(endpoint)
			to.EndpointOptions.DisableHTTPS = strings.HasPrefix(endpoint, "http://")
			to.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
			to.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
		}
		to.APIOptions = append(to.APIOptions, serviceOptions(like)...)
	})
	return o.api, nil
}

// loadAWS returns the SDK's configuration with the credentials and the region of Litestream's client.
func loadAWS(ctx context.Context, like *litestreams3.ReplicaClient) (aws.Config, error) {
	client := awshttp.NewBuildableClient() // the SDK adds the certificates of AWS_CA_BUNDLE to this type alone
	if like.SkipVerify {
		client = client.WithTransportOptions(func(t *http.Transport) { t.TLSClientConfig.InsecureSkipVerify = true })
	}
	options := []func(*config.LoadOptions) error{
		config.WithHTTPClient(client),
		config.WithRegion(cmp.Or(like.Region, litestreams3.DefaultRegion)),
	}
	if like.AccessKeyID != "" && like.SecretAccessKey != "" {
		keys := credentials.NewStaticCredentialsProvider(like.AccessKeyID, like.SecretAccessKey, "")
		options = append(options, config.WithCredentialsProvider(keys))
	}
	cfg, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return cfg, fmt.Errorf("s3: %w", err)
	}
	if like.Region != "" || like.Endpoint != "" {
		return cfg, nil
	}
	location, err := s3.NewFromConfig(cfg).GetBucketLocation(ctx,
		&s3.GetBucketLocationInput{Bucket: aws.String(like.Bucket)})
	if err != nil {
		return cfg, fmt.Errorf("s3: look up the region of the bucket: %w", err)
	}
	if location.LocationConstraint != "" {
		cfg.Region = string(location.LocationConstraint)
	}
	return cfg, nil
}

// serviceOptions are the deviations that some S3 services need, the same as in Litestream's client.
func serviceOptions(like *litestreams3.ReplicaClient) []func(*middleware.Stack) error {
	var options []func(*middleware.Stack) error
	if litestream.IsTigrisEndpoint(like.Endpoint) { // without the header, another region may answer with older data
		options = append(options, smithyhttp.SetHeaderValue("X-Tigris-Consistent", "true"))
	}
	if !like.SignPayload {
		options = append(options, v4.SwapComputePayloadSHA256ForUnsignedPayloadMiddleware)
	}
	if litestream.IsGoogleCloudStorageEndpoint(like.Endpoint) {
		options = append(options, func(stack *middleware.Stack) error {
			remove := middleware.FinalizeMiddlewareFunc("WeftRemoveAcceptEncoding", removeAcceptEncoding)
			return stack.Finalize.Insert(remove, "Signing", middleware.Before)
		})
	}
	return options
}

// removeAcceptEncoding removes a header that Google's proxies change: the signature covers it.
func removeAcceptEncoding(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (
	middleware.FinalizeOutput, middleware.Metadata, error,
) {
	if r, ok := in.Request.(*smithyhttp.Request); ok {
		r.Header.Del("Accept-Encoding")
	}
	return next.HandleFinalize(ctx, in)
}

func (o *s3Objects) key(name string) *string { return aws.String(path.Join(o.cfg.Path, name)) }

func (o *s3Objects) List(ctx context.Context, dir string) ([]string, error) {
	api, err := o.client(ctx)
	if err != nil {
		return nil, err
	}
	prefix := *o.key(dir) + "/"
	var names []string
	pages := s3.NewListObjectsV2Paginator(api,
		&s3.ListObjectsV2Input{Bucket: aws.String(o.cfg.Bucket), Prefix: aws.String(prefix)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("s3: list %s: %w", prefix, err)
		}
		for _, object := range page.Contents {
			names = append(names, strings.TrimPrefix(aws.ToString(object.Key), prefix))
		}
	}
	return names, nil
}

func (o *s3Objects) Read(ctx context.Context, name string) ([]byte, error) {
	api, err := o.client(ctx)
	if err != nil {
		return nil, err
	}
	out, err := api.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String(o.cfg.Bucket), Key: o.key(name)})
	if statusOf(err) == http.StatusNotFound {
		return nil, fs.ErrNotExist
	}
	if err != nil {
		return nil, fmt.Errorf("s3: read %s: %w", *o.key(name), err)
	}
	data, err := io.ReadAll(out.Body)
	return data, errors.Join(err, out.Body.Close())
}

// Create puts the object on the condition that it does not exist. If the service rejects conditions, Create reads
// before it writes; the lease reads its record again before it relies on it.
func (o *s3Objects) Create(ctx context.Context, name string, data []byte) error {
	if o.unconditional.Load() {
		return o.createUnconditionally(ctx, name, data)
	}
	err := o.put(ctx, name, data, aws.String("*"))
	switch {
	// S3 answers a conflict when another request writes the object at the same moment.
	case statusOf(err) == http.StatusPreconditionFailed, statusOf(err) == http.StatusConflict:
		return fs.ErrExist
	case refusesCondition(err):
		o.unconditional.Store(true)
		return o.createUnconditionally(ctx, name, data)
	case err != nil:
		return fmt.Errorf("s3: create %s: %w", *o.key(name), err)
	}
	return nil
}

func (o *s3Objects) createUnconditionally(ctx context.Context, name string, data []byte) error {
	_, err := o.Read(ctx, name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return o.Write(ctx, name, data)
	case err != nil:
		return err
	}
	return fs.ErrExist
}

// refusesCondition reports whether a service rejects a PUT because of its If-None-Match. Services answer with status
// 501 or 405, or with 400 and one of these codes. Other codes of 400, such as RequestTimeout, do not concern the
// condition.
func refusesCondition(err error) bool {
	switch statusOf(err) {
	case http.StatusNotImplemented, http.StatusMethodNotAllowed:
		return true
	case http.StatusBadRequest:
		var api smithy.APIError
		codes := []string{"NotImplemented", "InvalidArgument", "InvalidRequest"}
		return errors.As(err, &api) && slices.Contains(codes, api.ErrorCode())
	}
	return false
}

func (o *s3Objects) Write(ctx context.Context, name string, data []byte) error {
	err := o.put(ctx, name, data, nil)
	if err != nil {
		return fmt.Errorf("s3: write %s: %w", *o.key(name), err)
	}
	return nil
}

// put writes an object; ifNoneMatch nil: without a condition.
func (o *s3Objects) put(ctx context.Context, name string, data []byte, ifNoneMatch *string) error {
	api, err := o.client(ctx)
	if err != nil {
		return err
	}
	_, err = api.PutObject(ctx, &s3.PutObjectInput{
		Bucket: aws.String(o.cfg.Bucket), Key: o.key(name), Body: bytes.NewReader(data), IfNoneMatch: ifNoneMatch,
	})
	return err
}

// Missing lists the directory: one request for a thousand objects.
func (o *s3Objects) Missing(ctx context.Context, dir string, names []string) ([]string, error) {
	if len(names) == 0 {
		return nil, nil
	}
	listed, err := o.List(ctx, dir)
	if err != nil {
		return nil, err
	}
	return notAmong(listed, dir, names), nil
}

func (o *s3Objects) Close() error { return nil }

// statusOf returns the HTTP status of an error; 0: the error has none.
func statusOf(err error) int {
	var answer interface{ HTTPStatusCode() int }
	if errors.As(err, &answer) {
		return answer.HTTPStatusCode()
	}
	return 0
}

// Package sleep waits for a time to pass.
package sleep

import (
	"context"
	"time"
)

// For waits for d or until ctx is done, whose error it then returns.
func For(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

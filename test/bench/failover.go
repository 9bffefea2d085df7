package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/contiv/contiv/install/sandbox"
	"github.com/contiv/contiv/netmaster/client"
)

const (
	takeovers     = 10
	takeoverLimit = 20 * time.Second
)

// failoverRows are about the kill -9 of the leading one of three netmasters: until another has written something.
func failoverRows() []row {
	var out []row
	for _, store := range []string{sandbox.StoreEtcd, sandbox.StoreConsul} {
		e := failover(store)
		out = append(out,
			row{"F", "take-over after kill -9, " + store, "s", "", nil, e.figure("median")},
			row{"F", "take-over after kill -9, " + store + ", the longest of ten", "s", "", atMost(5), e.figure("worst")})
	}
	return out
}

// failover figures: "median" and "worst" (s).
func failover(store string) *experiment {
	return &experiment{run: func(ctx context.Context, b *bench) (figures, error) {
		s, err := up(ctx, b, sandbox.Config{Hosts: 3, Netmasters: 3, Store: store})
		if err != nil {
			return nil, err
		}
		defer down(s)
		out, worst := figures{}, 0.0
		for i := range takeovers {
			took, err := takeover(ctx, s, i)
			if err != nil {
				return nil, fmt.Errorf("on %s: %w", store, err)
			}
			fmt.Fprintf(os.Stderr, "  %s: %.2fs\n", store, took.Seconds())
			out.absolute("median", took.Seconds())
			worst = max(worst, took.Seconds())
		}
		out.absolute("worst", worst)
		return out, nil
	}}
}

// takeover kills the leader, measures how long it takes until a tenant can be made through the others, and starts it
// again.
func takeover(ctx context.Context, s *sandbox.Sandbox, round int) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	leader, err := agreedLeader(ctx, s)
	if err != nil {
		return 0, err
	}
	rest, err := client.New(s.URLOf(leader%3+1), client.Options{})
	if err != nil {
		return 0, fmt.Errorf("making a client: %w", err)
	}
	defer rest.Close()
	if err := s.Kill(sandbox.Netmaster, leader); err != nil {
		return 0, fmt.Errorf("killing a netmaster: %w", err)
	}
	begin := time.Now()
	tenant := &client.Tenant{}
	tenant.TenantName = fmt.Sprintf("after%d", round)
	for {
		_, err := rest.Tenants().Post(ctx, tenant)
		if err == nil {
			break
		}
		if time.Since(begin) > takeoverLimit {
			return 0, fmt.Errorf("nobody takes over within %v: %w", takeoverLimit, err)
		}
		<-time.After(10 * time.Millisecond)
	}
	took := time.Since(begin)
	if err := s.Start(ctx, sandbox.Netmaster, leader); err != nil {
		return 0, fmt.Errorf("starting a netmaster: %w", err)
	}
	return took, nil
}

// agreedLeader waits until all three name the same leader, and gives its number.
func agreedLeader(ctx context.Context, s *sandbox.Sandbox) (int, error) {
	for {
		var named []int
		for n := 1; n <= 3; n++ {
			named = append(named, leaderBy(ctx, s, n))
		}
		if slices.Min(named) == slices.Max(named) && named[0] != 0 {
			return named[0], nil
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return 0, fmt.Errorf("the netmasters do not agree on a leader (%v): %w", named, ctx.Err())
		}
	}
}

// leaderBy is the number of the leader that a netmaster names, 0 if it names none.
func leaderBy(ctx context.Context, s *sandbox.Sandbox, n int) int {
	rest, err := client.New(s.URLOf(n), client.Options{})
	if err != nil {
		return 0
	}
	defer rest.Close()
	info, err := rest.Info(ctx)
	if err != nil {
		return 0
	}
	for i := 1; i <= 3; i++ {
		if strings.TrimPrefix(s.URLOf(i), "http://") == info.LeaderIP {
			return i
		}
	}
	return 0
}

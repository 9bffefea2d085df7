package daemon

import (
	"context"
	"fmt"
	"io"
	"log/syslog"
	"net"
	"net/url"
	"os"
	"time"

	"github.com/sirupsen/logrus"
	logrussyslog "github.com/sirupsen/logrus/hooks/syslog"
)

// newLog makes the logger of a checked configuration.
func newLog(cfg LogConfig, stderr io.Writer) (*logrus.Entry, error) {
	logger := logrus.New()
	logger.SetOutput(stderr)
	level, err := logrus.ParseLevel(cfg.Level)
	if err != nil {
		return nil, badConfig("--log-level: %v", err)
	}
	logger.SetLevel(level)
	if cfg.JSON {
		logger.SetFormatter(&logrus.JSONFormatter{TimestampFormat: time.RFC3339Nano})
	} else {
		logger.SetFormatter(&logrus.TextFormatter{TimestampFormat: time.RFC3339Nano, FullTimestamp: true})
	}
	if cfg.Syslog != "" {
		u, err := url.Parse(cfg.Syslog)
		if err != nil {
			return nil, badConfig("--syslog-url: %v", err)
		}
		network, address := u.Scheme, u.Host
		if network == "unix" {
			network, address = "unixgram", u.Path
		}
		hook, err := logrussyslog.NewSyslogHook(network, address, syslog.LOG_INFO|syslog.LOG_DAEMON, "netmaster")
		if err != nil {
			return nil, fmt.Errorf("opening syslog at %s: %w", cfg.Syslog, err)
		}
		logger.AddHook(hook)
		logger.SetOutput(io.Discard)
	}
	return logrus.NewEntry(logger), nil
}

// hostAddresses are the addresses of this machine's name, as far as they are known within a second.
func hostAddresses() []string {
	name, err := os.Hostname()
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	addrs, _ := net.DefaultResolver.LookupHost(ctx, name) // a name that does not resolve has none
	return addrs
}

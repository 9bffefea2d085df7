package daemon

import (
	"context"
	"io"
	"log/syslog"
	"net"
	"net/url"
	"os"
	"time"

	"github.com/sirupsen/logrus"
	logrussyslog "github.com/sirupsen/logrus/hooks/syslog"
)

// newLog makes the logger of a checked configuration, on the standard error and, if asked for, syslog too.
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
		network, address, err := splitSyslogURL(cfg.Syslog)
		if err != nil {
			return nil, err
		}
		hook, err := logrussyslog.NewSyslogHook(network, address, syslog.LOG_INFO|syslog.LOG_DAEMON, "netmaster")
		if err != nil { // no reason to leave the cluster without a netmaster
			logger.WithError(err).Errorf("syslog at %s does not answer: logging to the standard error only, until the next start", cfg.Syslog)
		} else {
			logger.AddHook(hook)
		}
	}
	return logrus.NewEntry(logger), nil
}

// splitSyslogURL reads udp://HOST:PORT, tcp://HOST:PORT or unix:///PATH.
func splitSyslogURL(text string) (network, address string, err error) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
	case (u.Scheme == "udp" || u.Scheme == "tcp") && u.Port() != "":
		return u.Scheme, u.Host, nil
	case u.Scheme == "unix" && u.Path != "":
		return "unixgram", u.Path, nil
	}
	return "", "", badConfig("--syslog-url is %q; it must be a URL such as udp://127.0.0.1:514, tcp://127.0.0.1:514 or unix:///dev/log", text)
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

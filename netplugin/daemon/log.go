package daemon

import (
	"fmt"
	"io"
	"log/syslog"
	"net/url"
	"time"

	"github.com/sirupsen/logrus"
	logsyslog "github.com/sirupsen/logrus/hooks/syslog"
)

// newLog makes the logger that the flags ask for.
func newLog(conf *config, out io.Writer) (*logrus.Entry, error) {
	log := logrus.New()
	log.SetOutput(out)
	log.SetLevel(conf.level)
	if conf.jsonLog {
		log.SetFormatter(&logrus.JSONFormatter{TimestampFormat: time.RFC3339Nano})
	} else {
		log.SetFormatter(&logrus.TextFormatter{TimestampFormat: time.RFC3339Nano, FullTimestamp: true})
	}
	if conf.syslogURL != "" {
		network, address, err := splitSyslogURL(conf.syslogURL)
		if err != nil {
			return nil, &configError{err}
		}
		hook, err := logsyslog.NewSyslogHook(network, address, syslog.LOG_INFO|syslog.LOG_DAEMON, "netplugin")
		if err != nil { // no reason to leave the host without an agent
			log.WithError(err).Errorf("syslog at %s does not answer: logging to the standard error only, until the next start", conf.syslogURL)
		} else {
			log.AddHook(hook)
		}
	}
	return logrus.NewEntry(log).WithField("host", conf.host), nil
}

// splitSyslogURL reads udp://HOST:PORT, tcp://HOST:PORT or unix:///PATH.
func splitSyslogURL(text string) (network, address string, err error) {
	parsed, err := url.Parse(text)
	switch {
	case err != nil:
	case (parsed.Scheme == "udp" || parsed.Scheme == "tcp") && parsed.Port() != "":
		return parsed.Scheme, parsed.Host, nil
	case parsed.Scheme == "unix" && parsed.Path != "":
		return "unixgram", parsed.Path, nil
	}
	return "", "", fmt.Errorf("--%s %q: give udp://HOST:PORT, tcp://HOST:PORT or unix:///PATH", flagSyslogURL, text)
}

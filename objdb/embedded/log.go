package embedded

import (
	"github.com/sirupsen/logrus"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// harmless is what etcd reports as an error at the first start in an empty directory and repairs by itself.
const harmless = "failed to update storage version"

// newLogger gives etcd a logger whose errors, and nothing less, end in the log.
func newLogger(log *logrus.Entry) *zap.Logger {
	return zap.New(&core{LevelEnabler: zapcore.ErrorLevel, log: log.WithField("part", "etcd")})
}

// core implements zapcore.Core on logrus. A fatal message is written as an error; zap itself ends the process then.
type core struct {
	zapcore.LevelEnabler
	log *logrus.Entry
}

// With implements zapcore.Core.
func (c *core) With(fields []zapcore.Field) zapcore.Core {
	return &core{LevelEnabler: c.LevelEnabler, log: c.log.WithFields(plain(fields))}
}

// Check implements zapcore.Core.
func (c *core) Check(entry zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(entry.Level) && entry.Message != harmless {
		return checked.AddCore(entry, c)
	}
	return checked
}

// Write implements zapcore.Core.
func (c *core) Write(entry zapcore.Entry, fields []zapcore.Field) error {
	c.log.WithFields(plain(fields)).Error(entry.Message)
	return nil
}

// Sync implements zapcore.Core.
func (c *core) Sync() error { return nil }

func plain(fields []zapcore.Field) logrus.Fields {
	encoder := zapcore.NewMapObjectEncoder()
	for _, field := range fields {
		field.AddTo(encoder)
	}
	return encoder.Fields
}

package ovs

import (
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

const interrupt = syscall.SIGINT

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

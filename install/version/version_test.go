package version

import (
	"regexp"
	"runtime/debug"
	"testing"
)

func TestGetAlwaysParses(t *testing.T) {
	info := Get()
	if !regexp.MustCompile(`^\d+\.\d+\.\d+`).MatchString(info.Version) {
		t.Errorf("version %q does not begin with x.y.z", info.Version)
	}
	if info.GitCommit == "" || info.BuildTime == "" {
		t.Errorf("empty field in %+v", info)
	}
}

func TestLinkerWinsOverStamp(t *testing.T) {
	stamp := []debug.BuildSetting{
		{Key: "vcs.revision", Value: "abc"}, {Key: "vcs.time", Value: "2026-01-02T03:04:05Z"}, {Key: "vcs.modified", Value: "true"},
	}
	set := Info{Version: "1.2.3", GitCommit: "def", BuildTime: "now"}
	fill(&set, stamp)
	if set.GitCommit != "def" || set.BuildTime != "now" {
		t.Errorf("stamp replaced what the linker set: %+v", set)
	}
	unset := Info{Version: "1.2.3"}
	fill(&unset, stamp)
	const want = "Version: 1.2.3\nGitCommit: abc-modified\nBuildTime: 2026-01-02T03:04:05Z"
	if unset.String() != want {
		t.Errorf("got %q, want %q", unset.String(), want)
	}
}

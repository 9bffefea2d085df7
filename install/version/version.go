// Package version says which build of Contiv this is. The three variables are set by the linker:
//
//	-ldflags "-X github.com/contiv/contiv/install/version.Version=1.2.3 -X ….GitCommit=… -X ….BuildTime=…"
//
// What the linker did not set is taken from the build information that the Go tool stamps into a binary.
package version

import (
	"fmt"
	"runtime/debug"
	"strings"
)

// Set by the linker; read them through Get.
var (
	// Version begins with x.y.z, because clients parse it so.
	Version = "0.1.0-dev"
	// GitCommit is the commit the binary was built from.
	GitCommit = ""
	// BuildTime is when it was built, RFC 3339.
	BuildTime = ""
)

// Info is what GET /version answers, with the original's member names.
type Info struct {
	GitCommit string `json:"GitCommit"`
	Version   string `json:"Version"`
	BuildTime string `json:"BuildTime"`
}

// Get returns the build's version. Commit and time are "unknown" when nothing told them.
func Get() Info {
	info := Info{GitCommit: GitCommit, Version: Version, BuildTime: BuildTime}
	if build, ok := debug.ReadBuildInfo(); ok {
		fill(&info, build.Settings)
	}
	for _, field := range []*string{&info.GitCommit, &info.BuildTime} {
		if *field == "" {
			*field = "unknown"
		}
	}
	return info
}

// fill takes from the Go tool's stamp what the linker did not set. The stamped time is that of the commit.
func fill(info *Info, settings []debug.BuildSetting) {
	stamp := make(map[string]string, len(settings))
	for _, s := range settings {
		stamp[s.Key] = s.Value
	}
	if info.GitCommit == "" {
		info.GitCommit = stamp["vcs.revision"]
		if info.GitCommit != "" && stamp["vcs.modified"] == "true" {
			info.GitCommit += "-modified"
		}
	}
	if info.BuildTime == "" {
		info.BuildTime = stamp["vcs.time"]
	}
}

// String is the text that --version prints: three lines without a final line feed.
func (i Info) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Version: %s\n", i.Version)
	fmt.Fprintf(&b, "GitCommit: %s\n", i.GitCommit)
	fmt.Fprintf(&b, "BuildTime: %s", i.BuildTime)
	return b.String()
}

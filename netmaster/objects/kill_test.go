package objects

func killChild() string { return "" }

func runKillChild() {}

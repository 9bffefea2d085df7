package main

import "context"

// experiment is one run that several rows show figures of. It is done when the first of them is measured.
type experiment struct {
	run     func(context.Context, *bench) (figures, error)
	done    bool
	figures figures
	err     error
}

// figures of an experiment, by name.
type figures map[string][]pair

func (f figures) add(name string, denominator, ours float64) {
	f[name] = append(f[name], pair{denominator, ours})
}

// absolute adds a figure without a denominator.
func (f figures) absolute(name string, value float64) { f.add(name, 1, value) }

// figure is what a row measures: one figure of the experiment.
func (e *experiment) figure(name string) func(context.Context, *bench) ([]pair, error) {
	return func(ctx context.Context, b *bench) ([]pair, error) {
		if !e.done {
			e.figures, e.err = e.run(ctx, b)
			e.done = true
		}
		return e.figures[name], e.err
	}
}

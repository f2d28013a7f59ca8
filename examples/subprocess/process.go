package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"sync"
	"time"
)

// The host and the worker write one JSON object a line. Each request has an ID, and its answer has the same, so answers may come in any
// order. Any other line that the worker writes is logged.
type (
	request struct {
		ID     int         `json:"id"`
		Config *wrapConfig `json:"config,omitempty"` // in the first one
		Text   string      `json:"text,omitempty"`
	}
	answer struct {
		ID    int      `json:"id"`
		Lines []string `json:"lines"`
		Error string   `json:"error"`
	}
)

// process is a running worker.
type process struct {
	cmd     *exec.Cmd
	end     io.Closer // kills it
	in      io.WriteCloser
	writing chan struct{} // full while a request is being written
	done    chan struct{} // closed when it has ended and all its answers were read

	mu      sync.Mutex
	last    int // the ID of the last request
	waiting map[int]chan answer
}

// startProcess starts the executable. It runs on when ctx ends.
func startProcess(executable string, log *slog.Logger) (*process, error) {
	cmd, end, err := command(executable)
	if err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, end: end, writing: make(chan struct{}, 1), done: make(chan struct{}), waiting: map[int]chan answer{}}
	cmd.Stdout, cmd.Stderr = &lines{each: func(line []byte) { p.take(line, log) }}, os.Stderr
	cmd.WaitDelay = time.Second // for what it has left in the pipe
	if p.in, err = cmd.StdinPipe(); err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return nil, errors.Join(err, end.Close())
	}
	go func() {
		_ = cmd.Wait() // whenever it ends, so that it never stays a zombie
		_ = end.Close()
		close(p.done)
	}()
	return p, nil
}

// take gives an answer to the call that waits for it. A call whose context has ended does not wait any more.
func (p *process) take(line []byte, log *slog.Logger) {
	if len(line) == 0 {
		return
	}
	var a answer
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	err := d.Decode(&a)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil || d.More() || a.ID < 1 || a.ID > p.last {
		log.Warn("the worker wrote a line that is no answer", "line", string(line[:min(len(line), 200)]))
		return
	}
	if answered, ok := p.waiting[a.ID]; ok {
		delete(p.waiting, a.ID)
		answered <- a
	}
}

// ask sends a request and waits for its answer.
func (p *process) ask(ctx context.Context, r request) ([]string, error) {
	answered := make(chan answer, 1)
	p.mu.Lock()
	p.last++
	r.ID = p.last
	p.waiting[r.ID] = answered
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.waiting, r.ID)
	}()

	if err := p.write(ctx, r); err != nil {
		return nil, err
	}
	var a answer
	select {
	case a = <-answered:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-p.done:
		select {
		case a = <-answered: // its last one
		default:
			return nil, errEnded
		}
	}
	if a.Error != "" {
		return nil, fmt.Errorf("the worker says: %s", a.Error)
	}
	return a.Lines, nil
}

var errEnded = errors.New("the worker has ended before it answered; the next call starts it again")

func (p *process) write(ctx context.Context, r request) error {
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	select {
	case p.writing <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-p.writing }()
	// A worker that does not read is of no use, and after half a line it would not understand the next one.
	stop := context.AfterFunc(ctx, func() { _ = p.end.Close() })
	defer stop()
	if _, err := p.in.Write(append(line, '\n')); err != nil {
		return errors.Join(ctx.Err(), errEnded)
	}
	return nil
}

// running reports whether the process has not ended.
func (p *process) running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// close ends the input of the process, at which the worker ends. If it does not, it is killed when ctx ends.
func (p *process) close(ctx context.Context) {
	_ = p.in.Close()
	select {
	case <-p.done:
	case <-ctx.Done():
		_ = p.end.Close()
		<-p.done
	}
}

// lines is a writer that calls each with every line, without its end. Of a line over maxLine bytes it is called with the beginning.
type lines struct {
	each func(line []byte)
	part []byte
}

const maxLine = 1 << 20

func (l *lines) Write(text []byte) (int, error) {
	n := len(text)
	for {
		line, rest, ended := bytes.Cut(text, []byte("\n"))
		l.part = append(l.part, line[:min(len(line), maxLine-len(l.part))]...)
		if !ended {
			return n, nil
		}
		l.each(bytes.TrimSuffix(l.part, []byte("\r")))
		l.part, text = l.part[:0], rest
	}
}

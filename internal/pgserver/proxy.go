package pgserver

import (
	"encoding/binary"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// Proxy stands between a store and a server, and spoils what goes through it.
type Proxy struct {
	Port int

	target   atomic.Value // string
	listener net.Listener
	swallow  atomic.Bool
	cut      atomic.Int64 // 0 to cut the next answer to a commit, -1 not to
	syncs    atomic.Int64

	mu      sync.Mutex
	cond    *sync.Cond
	pairs   map[net.Conn]net.Conn
	refuses bool
}

// NewProxy starts a proxy that leads to a port of the loopback and ends with the test.
func NewProxy(t testing.TB, port string) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{Port: l.Addr().(*net.TCPAddr).Port, listener: l, pairs: map[net.Conn]net.Conn{}}
	p.cond = sync.NewCond(&p.mu)
	p.target.Store(net.JoinHostPort("127.0.0.1", port))
	p.cut.Store(-1)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { p.serve(client) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		p.Swallow(false)
		p.Drop()
		wg.Wait()
	})
	return p
}

// Lead makes new connections go to another port.
func (p *Proxy) Lead(port string) { p.target.Store(net.JoinHostPort("127.0.0.1", port)) }

// Refuse closes every new connection at once, or no longer.
func (p *Proxy) Refuse(yes bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuses = yes
}

// Drop cuts all connections.
func (p *Proxy) Drop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for a, b := range p.pairs {
		a.Close()
		b.Close()
	}
}

// Swallow holds back whatever comes, in both directions, or lets it go on.
func (p *Proxy) Swallow(yes bool) {
	p.swallow.Store(yes)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cond.Broadcast()
}

// CutAnswer cuts the connection on which the server says next that a transaction is over, instead of passing that on.
func (p *Proxy) CutAnswer() { p.cut.Store(0) }

// Exchanges is how many times a client has asked and waited for an answer so far, in the extended protocol.
func (p *Proxy) Exchanges() int64 { return p.syncs.Load() }

// Passes tells whether nothing is waiting to be cut.
func (p *Proxy) Passes() bool { return p.cut.Load() < 0 }

func (p *Proxy) serve(client net.Conn) {
	defer client.Close()
	p.mu.Lock()
	refuses := p.refuses
	p.mu.Unlock()
	if refuses {
		return
	}
	server, err := net.Dial("tcp", p.target.Load().(string))
	if err != nil {
		return
	}
	defer server.Close()
	p.mu.Lock()
	p.pairs[client] = server
	p.mu.Unlock()
	var wg sync.WaitGroup
	wg.Go(func() { p.copy(server, client, false) })
	p.copy(client, server, true)
	wg.Wait()
	p.mu.Lock()
	delete(p.pairs, client)
	p.mu.Unlock()
}

func (p *Proxy) copy(to, from net.Conn, answers bool) {
	defer to.Close()
	defer from.Close()
	buf := make([]byte, 64<<10)
	var sent messages
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		p.mu.Lock()
		for p.swallow.Load() {
			p.cond.Wait()
		}
		p.mu.Unlock()
		if !answers {
			p.syncs.Add(sent.syncs(buf[:n]))
		}
		if answers && overs(buf[:n]) && p.cut.CompareAndSwap(0, -1) {
			return
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

// messages follows the messages of a client.
type messages struct {
	started bool
	head    []byte // of a message that has not come in full
	rest    int    // how much of the current message is still to come
}

// syncs counts the messages Sync that end in what comes next.
func (m *messages) syncs(data []byte) (n int64) {
	for len(data) > 0 {
		if m.rest > 0 {
			skip := min(m.rest, len(data))
			m.rest, data = m.rest-skip, data[skip:]
			continue
		}
		m.head, data = append(m.head, data[0]), data[1:]
		size := 5 // a type and a length; the first message has no type
		if !m.started {
			size = 4
		}
		if len(m.head) < size {
			continue
		}
		m.rest = int(binary.BigEndian.Uint32(m.head[size-4:])) - 4
		if m.started && m.head[0] == 'S' {
			n++
		}
		m.started, m.head = true, m.head[:0]
	}
	return n
}

// overs tells whether an answer of the server ends with ReadyForQuery outside of a transaction, and says that rows were changed.
func overs(answer []byte) bool {
	n := len(answer)
	return n >= 6 && string(answer[n-6:]) == "Z\x00\x00\x00\x05I" && changes(answer)
}

// changes looks for the tag of a statement that has changed rows: of our own, an UPDATE, an INSERT, or the SELECT of a batch.
func changes(answer []byte) bool {
	for i := 0; i+12 < len(answer); {
		kind, length := answer[i], int(answer[i+1])<<24|int(answer[i+2])<<16|int(answer[i+3])<<8|int(answer[i+4])
		if length < 4 || i+1+length > len(answer) {
			return false
		}
		text := string(answer[i+5 : i+1+length])
		if kind == 'C' && (text == "UPDATE 1\x00" || text == "INSERT 0 1\x00") {
			return true
		}
		i += 1 + length
	}
	return false
}

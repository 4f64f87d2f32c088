// The chat that one writes by hand in Go for one machine: net/http and SQLite. One goroutine writes, and commits at once
// what has come while it committed; what a request asks of rooms, tokens and members is in memory, and so are the newest
// pages and everybody who listens.
package main

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"errors"
	"log"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	_ "github.com/mattn/go-sqlite3"
)

const (
	bodyMax   = 1 << 20
	textMax   = 65_535
	pageUsual = 50
	commitMax = 256 // messages
	waiting   = 64  // events that a listener may be behind
)

const columns = "room_id, seq, author_id, text, posted_at, reply_to, mentions"

type message struct {
	RoomID   int64           `json:"room_id"`
	Seq      int64           `json:"seq"`
	AuthorID int64           `json:"author_id"`
	Text     string          `json:"text"`
	PostedAt string          `json:"posted_at"`
	EditedAt *string         `json:"edited_at"`
	Deleted  bool            `json:"deleted"`
	ReplyTo  *int64          `json:"reply_to"`
	Mentions json.RawMessage `json:"mentions"`
}

type page struct {
	Messages  []message `json:"messages"`
	HasBefore bool      `json:"has_before"`
	HasAfter  bool      `json:"has_after"`
}

// refusal is an answer that the client has earned. Any other error is a fault, and answered with 500.
type refusal struct {
	Type   string `json:"type"`
	Status int    `json:"status"`
	Code   string `json:"code"`
}

func (r refusal) Error() string { return r.Code }

func refuse(status int, code string) error { return refusal{"about:blank", status, code} }

// kept is a page as it was encoded when the room had so many commits.
type kept struct {
	commits int64
	body    []byte
}

type room struct {
	lastSeq int64          // the writer's
	members map[int64]bool // by account; never changes
	commits atomic.Int64
	newest  atomic.Pointer[kept]

	mutex     sync.Mutex
	listeners map[chan []byte]bool
}

// tell hands an event to everybody who listens. One that is too far behind loses its stream.
func (r *room) tell(event []byte) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	for listener := range r.listeners {
		select {
		case listener <- event:
		default:
			delete(r.listeners, listener)
			close(listener)
		}
	}
}

func (r *room) listen() chan []byte {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	listener := make(chan []byte, waiting)
	r.listeners[listener] = true
	return listener
}

func (r *room) leave(listener chan []byte) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	delete(r.listeners, listener)
}

// send is a message that waits to be written.
type send struct {
	room     *room
	message  message
	key      *string
	replayed bool
	answer   []byte
	err      error
	done     chan struct{}
}

type chat struct {
	db       *sql.DB
	sends    chan *send
	accounts map[[32]byte]int64 // by the hash of a token
	rooms    map[int64]*room
}

func open(path string) (*chat, error) {
	db, err := sql.Open("sqlite3", path+"?_journal_mode=WAL&_synchronous=FULL&_busy_timeout=5000")
	if err != nil {
		return nil, err
	}
	c := &chat{db, make(chan *send, 4*commitMax), map[[32]byte]int64{}, map[int64]*room{}}
	return c, errors.Join(c.load(), db.Ping())
}

func (c *chat) load() error {
	var hash []byte
	var accountID, roomID, lastSeq int64
	err := c.each("SELECT hash, account_id FROM tokens", func(rows *sql.Rows) error {
		err := rows.Scan(&hash, &accountID)
		c.accounts[[32]byte(hash)] = accountID
		return err
	})
	members := c.each("SELECT room_id, account_id FROM members", func(rows *sql.Rows) error {
		err := rows.Scan(&roomID, &accountID)
		if c.rooms[roomID] == nil {
			c.rooms[roomID] = &room{members: map[int64]bool{}, listeners: map[chan []byte]bool{}}
		}
		c.rooms[roomID].members[accountID] = true
		return err
	})
	seqs := c.each("SELECT room_id, max(seq) FROM messages GROUP BY room_id", func(rows *sql.Rows) error {
		err := rows.Scan(&roomID, &lastSeq)
		c.rooms[roomID].lastSeq = lastSeq
		return err
	})
	return errors.Join(err, members, seqs)
}

func (c *chat) each(query string, take func(*sql.Rows) error) error {
	rows, err := c.db.Query(query)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := take(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// --- the writer ------------------------------------------------------------------------------------------------------

// write ends the program when the disk fails: nothing is acknowledged that was not written.
func (c *chat) write() {
	connection, err := c.db.Conn(context.Background())
	must(err)
	insert, err := connection.PrepareContext(context.Background(),
		"INSERT INTO messages ("+columns+", key) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (author_id, key) DO NOTHING")
	must(err)
	byKey, err := connection.PrepareContext(context.Background(),
		"SELECT "+columns+" FROM messages WHERE author_id = ? AND key = ?")
	must(err)
	for first := range c.sends {
		batch := c.gather(first)
		_, err := connection.ExecContext(context.Background(), "BEGIN IMMEDIATE")
		must(err)
		for _, each := range batch {
			store(each, insert, byKey)
		}
		_, err = connection.ExecContext(context.Background(), "COMMIT")
		must(err)
		for _, each := range batch {
			each.answer, err = json.Marshal(each.message)
			must(err)
			if !each.replayed {
				each.room.commits.Add(1)
				each.room.tell(eventOf(each))
			}
			close(each.done)
		}
	}
}

func (c *chat) gather(first *send) []*send {
	batch := []*send{first}
	for len(batch) < commitMax {
		select {
		case next := <-c.sends:
			batch = append(batch, next)
		default:
			return batch
		}
	}
	return batch
}

func store(s *send, insert, byKey *sql.Stmt) {
	m := &s.message
	now := time.Now().UTC()
	m.Seq, m.PostedAt = s.room.lastSeq+1, now.Format("2006-01-02T15:04:05.000Z")
	done, err := insert.Exec(m.RoomID, m.Seq, m.AuthorID, m.Text, m.PostedAt, m.ReplyTo, string(m.Mentions), s.key)
	must(err)
	if count, _ := done.RowsAffected(); count == 1 {
		s.room.lastSeq++
		return
	}
	first, err := scan(byKey.QueryRow(m.AuthorID, s.key))
	must(err)
	if first.RoomID != m.RoomID || first.Text != m.Text {
		s.err = refuse(http.StatusUnprocessableEntity, "idempotency_key_reused")
	}
	s.message, s.replayed = first, true
}

func eventOf(s *send) []byte {
	event := append([]byte("event: message.posted\ndata: "), s.answer...)
	return append(event, "\n\n"...)
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func scan(row interface{ Scan(...any) error }) (message, error) {
	var m message
	var mentions string
	err := row.Scan(&m.RoomID, &m.Seq, &m.AuthorID, &m.Text, &m.PostedAt, &m.ReplyTo, &mentions)
	m.Mentions = json.RawMessage(mentions)
	return m, err
}

// --- requests --------------------------------------------------------------------------------------------------------

func (c *chat) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/rooms/{room}/messages", c.post)
	mux.HandleFunc("GET /v1/rooms/{room}/messages", c.latest)
	mux.HandleFunc("GET /v1/stream", c.stream)
	return mux
}

func answer(w http.ResponseWriter, status int, body []byte, err error) {
	mediaType := "application/json"
	if err != nil {
		var refused refusal
		if !errors.As(err, &refused) {
			log.Print(err)
			refused = refusal{"about:blank", http.StatusInternalServerError, "internal"}
		}
		status, mediaType = refused.Status, "application/problem+json"
		body, _ = json.Marshal(refused)
	}
	w.Header().Set("Content-Type", mediaType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	w.Write(body) // a client that has gone is no fault
}

// authorise finds the caller's account and the room that it is in.
func (c *chat) authorise(r *http.Request, roomID string) (int64, int64, *room, error) {
	hash := sha256.Sum256([]byte(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")))
	account, known := c.accounts[hash]
	if !known {
		return 0, 0, nil, refuse(http.StatusUnauthorized, "unauthenticated")
	}
	number, err := strconv.ParseInt(roomID, 10, 64)
	found := c.rooms[number]
	if err != nil || found == nil || !found.members[account] {
		return 0, 0, nil, refuse(http.StatusNotFound, "room_not_found")
	}
	return account, number, found, nil
}

func (c *chat) post(w http.ResponseWriter, r *http.Request) {
	account, roomID, room, err := c.authorise(r, r.PathValue("room"))
	if err != nil {
		answer(w, 0, nil, err)
		return
	}
	body := struct {
		Text     string          `json:"text"`
		ReplyTo  *int64          `json:"reply_to"`
		Mentions json.RawMessage `json:"mentions"`
	}{Mentions: json.RawMessage("[]")}
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, bodyMax))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&body); err != nil {
		answer(w, 0, nil, refuse(http.StatusBadRequest, "malformed"))
		return
	}
	if len(body.Text) == 0 || len(body.Text) > textMax {
		answer(w, 0, nil, refuse(http.StatusUnprocessableEntity, "invalid"))
		return
	}
	said := message{RoomID: roomID, AuthorID: account, Text: body.Text, ReplyTo: body.ReplyTo, Mentions: body.Mentions}
	waits := &send{room: room, message: said, done: make(chan struct{})}
	if key := r.Header.Get("Idempotency-Key"); key != "" {
		waits.key = &key
	}
	c.sends <- waits
	<-waits.done
	if waits.replayed {
		w.Header().Set("Idempotency-Replayed", "true")
	}
	answer(w, http.StatusCreated, waits.answer, waits.err)
}

func (c *chat) latest(w http.ResponseWriter, r *http.Request) {
	_, roomID, room, err := c.authorise(r, r.PathValue("room"))
	if err != nil {
		answer(w, 0, nil, err)
		return
	}
	limit := int64(pageUsual)
	if text := r.URL.Query().Get("limit"); text != "" {
		if limit, err = strconv.ParseInt(text, 10, 64); err != nil || limit < 1 {
			answer(w, 0, nil, refuse(http.StatusUnprocessableEntity, "invalid"))
			return
		}
	}
	commits := room.commits.Load()
	if newest := room.newest.Load(); newest != nil && newest.commits == commits && limit == pageUsual {
		answer(w, http.StatusOK, newest.body, nil)
		return
	}
	body, err := c.read(roomID, limit)
	if err == nil && limit == pageUsual {
		room.newest.Store(&kept{commits, body})
	}
	answer(w, http.StatusOK, body, err)
}

func (c *chat) read(roomID, limit int64) ([]byte, error) {
	rows, err := c.db.Query(
		"SELECT "+columns+" FROM messages WHERE room_id = ? ORDER BY seq DESC LIMIT ?", roomID, limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	messages := make([]message, 0, limit)
	for rows.Next() {
		m, err := scan(rows)
		if err != nil {
			return nil, err
		}
		messages = append(messages, m)
	}
	for i, j := 0, len(messages)-1; i < j; i, j = i+1, j-1 {
		messages[i], messages[j] = messages[j], messages[i]
	}
	found := page{Messages: messages, HasBefore: len(messages) > 0 && messages[0].Seq > 1}
	return json.Marshal(found)
}

func (c *chat) stream(w http.ResponseWriter, r *http.Request) {
	_, _, room, err := c.authorise(r, r.URL.Query().Get("rooms"))
	if err != nil {
		answer(w, 0, nil, err)
		return
	}
	listener := room.listen()
	defer room.leave(listener)
	w.Header().Set("Content-Type", "text/event-stream")
	flusher := http.NewResponseController(w)
	w.Write([]byte("event: hello\ndata: {}\n\n"))
	for flusher.Flush() == nil {
		select {
		case event, going := <-listener:
			if !going {
				return
			}
			w.Write(event)
		case <-r.Context().Done():
			return
		}
	}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	c, err := open(os.Getenv("PEER_DATABASE"))
	must(err)
	go c.write()
	server := &http.Server{
		Addr: "127.0.0.1:" + os.Getenv("PEER_PORT"), Handler: c.routes(), ReadHeaderTimeout: 10 * time.Second}
	go func() { must(server.ListenAndServe()) }()
	<-ctx.Done() // what was acknowledged is on the disk
}

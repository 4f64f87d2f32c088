package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	bodyMax         = 1 << 20
	textMax         = 65_535
	pageUsual       = 50
	uniqueViolation = "23505"
)

// One statement is one transaction. It finds the member, the row lock on the room allots seq, and a key that exists
// undoes all of it.
const sendSQL = `
WITH room AS (
    UPDATE rooms r SET last_seq = r.last_seq + 1, updated_at = now()
    FROM tokens t JOIN members m ON m.account_id = t.account_id
    WHERE t.hash = $1 AND m.room_id = $2 AND m.role <> 'readonly' AND r.room_id = $2
    RETURNING r.last_seq, t.account_id
)
INSERT INTO messages (room_id, seq, author_id, text, reply_to, mentions, idempotency_key)
SELECT $2, last_seq, account_id, $3, $4, $5, $6 FROM room
RETURNING seq, author_id, posted_at`

const pageSQL = `
SELECT l.room_id, l.seq, l.author_id, l.text, l.posted_at, l.edited_at, l.deleted, l.reply_to, l.mentions
FROM tokens t JOIN members m ON m.account_id = t.account_id AND m.room_id = $2
CROSS JOIN LATERAL (SELECT * FROM messages WHERE room_id = $2 AND seq < $3 ORDER BY seq DESC LIMIT $4) l
WHERE t.hash = $1
ORDER BY l.seq`

const byKeySQL = `
SELECT l.room_id, l.seq, l.author_id, l.text, l.posted_at, l.edited_at, l.deleted, l.reply_to, l.mentions
FROM tokens t JOIN messages l ON l.author_id = t.account_id
WHERE t.hash = $1 AND l.idempotency_key = $2`

// The inner query picks the rooms, the outer one looks up the newest message of only those.
const roomsSQL = `
SELECT r.room_id, r.name, r.role, r.last_seq, r.read_seq, r.updated_at,
    l.seq, l.author_id, l.text, l.posted_at, l.edited_at, l.deleted, l.reply_to, l.mentions
FROM (
    SELECT r.room_id, r.name, r.last_seq, r.updated_at, m.role, m.read_seq
    FROM tokens t JOIN members m USING (account_id) JOIN rooms r USING (room_id)
    WHERE t.hash = $1 AND (r.updated_at, r.room_id) < ($2, $3)
    ORDER BY r.updated_at DESC, r.room_id DESC LIMIT $4
) r LEFT JOIN messages l ON l.room_id = r.room_id AND l.seq = r.last_seq
ORDER BY r.updated_at DESC, r.room_id DESC`

const roleSQL = `
SELECT m.role FROM tokens t LEFT JOIN members m ON m.account_id = t.account_id AND m.room_id = $2 WHERE t.hash = $1`

const accountSQL = `SELECT account_id FROM tokens WHERE hash = $1`

type sendBody struct {
	Text     string  `json:"text"`
	ReplyTo  *int64  `json:"reply_to"`
	Mentions []int64 `json:"mentions"`
}

type message struct {
	RoomID   int64      `json:"room_id"`
	Seq      int64      `json:"seq"`
	AuthorID int64      `json:"author_id"`
	Text     string     `json:"text"`
	PostedAt time.Time  `json:"posted_at"`
	EditedAt *time.Time `json:"edited_at"`
	Deleted  bool       `json:"deleted"`
	ReplyTo  *int64     `json:"reply_to"`
	Mentions []int64    `json:"mentions"`
}

type page struct {
	Messages  []message `json:"messages"`
	HasBefore bool      `json:"has_before"`
	HasAfter  bool      `json:"has_after"`
}

type roomSummary struct {
	RoomID      int64     `json:"room_id"`
	Name        string    `json:"name"`
	Role        string    `json:"role"`
	LastSeq     int64     `json:"last_seq"`
	ReadSeq     int64     `json:"read_seq"`
	Unread      int64     `json:"unread"`
	LastMessage *message  `json:"last_message"`
	UpdatedAt   time.Time `json:"updated_at"`
}

type rooms struct {
	Rooms      []roomSummary `json:"rooms"`
	NextCursor *string       `json:"next_cursor"`
}

// refusal is an answer that the client has earned. Any other error is a fault, and answered with 500.
type refusal struct {
	Type   string `json:"type"`
	Status int    `json:"status"`
	Code   string `json:"code"`
}

func (r refusal) Error() string { return r.Code }

func refuse(status int, code string) error { return refusal{"about:blank", status, code} }

type chat struct{ pool *pgxpool.Pool }

func (c chat) routes() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("POST /v1/rooms/{room}/messages", handler(c.send))
	mux.Handle("GET /v1/rooms/{room}/messages", handler(c.latest))
	mux.Handle("GET /v1/rooms", handler(c.rooms))
	return mux
}

type handler func(w http.ResponseWriter, r *http.Request) (status int, body any, err error)

func (h handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	status, body, err := h(w, r)
	mediaType := "application/json"
	if err != nil {
		var refused refusal
		if !errors.As(err, &refused) {
			log.Printf("%s %s: %v", r.Method, r.URL.Path, err)
			refused = refusal{"about:blank", http.StatusInternalServerError, "internal"}
		}
		status, body, mediaType = refused.Status, refused, "application/problem+json"
	}
	encoded, err := json.Marshal(body)
	if err != nil {
		log.Printf("%s %s: %v", r.Method, r.URL.Path, err)
		http.Error(w, "internal", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", mediaType)
	w.Header().Set("Content-Length", strconv.Itoa(len(encoded)))
	w.WriteHeader(status)
	w.Write(encoded) // a client that has gone is no fault
}

func (c chat) send(w http.ResponseWriter, r *http.Request) (int, any, error) {
	roomID, err := roomOf(r)
	if err != nil {
		return 0, nil, err
	}
	body := sendBody{Mentions: []int64{}}
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, bodyMax))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&body); err != nil {
		return 0, nil, refuse(http.StatusBadRequest, "malformed")
	}
	if len(body.Text) == 0 || len(body.Text) > textMax {
		return 0, nil, refuse(http.StatusUnprocessableEntity, "invalid")
	}
	var key *string
	if sent := r.Header.Get("Idempotency-Key"); sent != "" {
		key = &sent
	}
	hash := tokenHash(r)
	said := message{RoomID: roomID, Text: body.Text, ReplyTo: body.ReplyTo, Mentions: body.Mentions}
	err = c.pool.QueryRow(r.Context(), sendSQL, hash, roomID, body.Text, body.ReplyTo, body.Mentions, key).
		Scan(&said.Seq, &said.AuthorID, &said.PostedAt)
	var broken *pgconn.PgError
	switch {
	case err == nil:
		said.PostedAt = said.PostedAt.UTC()
		return http.StatusCreated, said, nil
	case errors.Is(err, pgx.ErrNoRows):
		if err := c.checkMember(r.Context(), hash, roomID); err != nil {
			return 0, nil, err
		}
		return 0, nil, refuse(http.StatusForbidden, "read_only")
	case errors.As(err, &broken) && broken.Code == uniqueViolation && key != nil:
		return c.again(w, r.Context(), hash, *key, said)
	default:
		return 0, nil, err
	}
}

// again answers a retry with the message that was stored for its key.
func (c chat) again(w http.ResponseWriter, ctx context.Context, hash []byte, key string, said message) (int, any, error) {
	rows, err := c.pool.Query(ctx, byKeySQL, hash, key)
	if err != nil {
		return 0, nil, err
	}
	first, err := pgx.CollectExactlyOneRow(rows, messageOf)
	if err != nil {
		return 0, nil, err
	}
	if first.RoomID != said.RoomID || first.Text != said.Text {
		return 0, nil, refuse(http.StatusUnprocessableEntity, "idempotency_key_reused")
	}
	w.Header().Set("Idempotency-Replayed", "true")
	return http.StatusCreated, first, nil
}

func (c chat) latest(_ http.ResponseWriter, r *http.Request) (int, any, error) {
	roomID, err := roomOf(r)
	if err != nil {
		return 0, nil, err
	}
	query := r.URL.Query()
	limit, err := number(query.Get("limit"), pageUsual)
	if err != nil {
		return 0, nil, err
	}
	before, err := number(query.Get("before"), math.MaxInt64)
	if err != nil {
		return 0, nil, err
	}
	hash := tokenHash(r)
	rows, err := c.pool.Query(r.Context(), pageSQL, hash, roomID, before, limit)
	if err != nil {
		return 0, nil, err
	}
	messages, err := pgx.CollectRows(rows, messageOf)
	if err != nil {
		return 0, nil, err
	}
	if len(messages) == 0 {
		if err := c.checkMember(r.Context(), hash, roomID); err != nil {
			return 0, nil, err
		}
		return http.StatusOK, page{Messages: []message{}, HasAfter: query.Has("before")}, nil
	}
	return http.StatusOK, page{messages, messages[0].Seq > 1, query.Has("before")}, nil
}

func (c chat) rooms(_ http.ResponseWriter, r *http.Request) (int, any, error) {
	query := r.URL.Query()
	limit, err := number(query.Get("limit"), pageUsual)
	if err != nil {
		return 0, nil, err
	}
	updatedAt, roomID, err := parseCursor(query.Get("cursor"))
	if err != nil {
		return 0, nil, err
	}
	hash := tokenHash(r)
	rows, err := c.pool.Query(r.Context(), roomsSQL, hash, updatedAt, roomID, limit+1)
	if err != nil {
		return 0, nil, err
	}
	found, err := pgx.CollectRows(rows, summaryOf)
	if err != nil {
		return 0, nil, err
	}
	if len(found) == 0 {
		var account int64
		err := c.pool.QueryRow(r.Context(), accountSQL, hash).Scan(&account)
		if errors.Is(err, pgx.ErrNoRows) {
			return 0, nil, refuse(http.StatusUnauthorized, "unauthenticated")
		}
		if err != nil {
			return 0, nil, err
		}
	}
	listed := rooms{Rooms: found}
	if int64(len(found)) > limit {
		listed.Rooms = found[:limit]
		cursor := cursorOf(found[limit-1])
		listed.NextCursor = &cursor
	}
	return http.StatusOK, listed, nil
}

// checkMember says why a statement found no member: it returns a refusal, or nil if there is one.
func (c chat) checkMember(ctx context.Context, hash []byte, roomID int64) error {
	var role *string
	err := c.pool.QueryRow(ctx, roleSQL, hash, roomID).Scan(&role)
	if errors.Is(err, pgx.ErrNoRows) {
		return refuse(http.StatusUnauthorized, "unauthenticated")
	}
	if err == nil && role == nil {
		return refuse(http.StatusNotFound, "room_not_found")
	}
	return err
}

func messageOf(row pgx.CollectableRow) (message, error) {
	var m message
	err := row.Scan(
		&m.RoomID, &m.Seq, &m.AuthorID, &m.Text, &m.PostedAt, &m.EditedAt, &m.Deleted, &m.ReplyTo, &m.Mentions)
	m.PostedAt = m.PostedAt.UTC()
	return m, err
}

func summaryOf(row pgx.CollectableRow) (roomSummary, error) {
	var s roomSummary
	var seq, author *int64
	var text *string
	var postedAt *time.Time
	var deleted *bool
	var last message
	err := row.Scan(
		&s.RoomID, &s.Name, &s.Role, &s.LastSeq, &s.ReadSeq, &s.UpdatedAt,
		&seq, &author, &text, &postedAt, &last.EditedAt, &deleted, &last.ReplyTo, &last.Mentions)
	if err != nil {
		return s, err
	}
	s.UpdatedAt = s.UpdatedAt.UTC()
	s.Unread = max(0, s.LastSeq-s.ReadSeq)
	if seq != nil {
		last.RoomID, last.Seq, last.AuthorID = s.RoomID, *seq, *author
		last.Text, last.PostedAt, last.Deleted = *text, postedAt.UTC(), *deleted
		s.LastMessage = &last
	}
	return s, nil
}

func roomOf(r *http.Request) (int64, error) {
	roomID, err := strconv.ParseInt(r.PathValue("room"), 10, 64)
	if err != nil {
		return 0, refuse(http.StatusNotFound, "room_not_found")
	}
	return roomID, nil
}

func number(text string, usual int64) (int64, error) {
	if text == "" {
		return usual, nil
	}
	value, err := strconv.ParseInt(text, 10, 64)
	if err != nil || value < 1 {
		return 0, refuse(http.StatusUnprocessableEntity, "invalid")
	}
	return value, nil
}

func tokenHash(r *http.Request) []byte {
	hash := sha256.Sum256([]byte(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")))
	return hash[:]
}

func cursorOf(room roomSummary) string {
	return fmt.Sprintf("%d-%d", room.UpdatedAt.UnixMilli(), room.RoomID)
}

func parseCursor(cursor string) (time.Time, int64, error) {
	if cursor == "" {
		return time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC), 0, nil
	}
	var milliseconds, roomID int64
	if _, err := fmt.Sscanf(cursor, "%d-%d", &milliseconds, &roomID); err != nil {
		return time.Time{}, 0, refuse(http.StatusUnprocessableEntity, "invalid")
	}
	return time.UnixMilli(milliseconds).UTC(), roomID, nil
}

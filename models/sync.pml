/* A vault of three devices and their relay, for spin: writing, pulling, pushing, checkpoints, a
 * device that joins late and one that is taken out, with crashes and lost answers between any two
 * steps. What is modelled and what not: docs/protocol.md.
 *
 *   tests/model_test.sh                   every interleaving, and the planted faults
 *   spin -n7 -DTRACE sync.pml              a random one, as lines that sync_tests replays
 *
 * -DFAULT=n plants a fault that spin must find: 1 the relay stores a repeated batch again, 2 it
 * takes batches of a device that is out, 3 it lets go of what no checkpoint stands for, 4 a device
 * forgets what is unsent once it is pushed, 5 a device that loads a checkpoint forgets its own.
 */
#ifndef FAULT
#define FAULT 0
#endif
#ifndef WRITES
#define WRITES 1 /* of each device, and one more of the first */
#endif
#define DEVICES 3
#define LOG 6
#define NONE 9

#ifdef TRACE
#define SAY(x) printf x; tell(); steps++
#define IS_OVER steps >= 30 /* a random run would end too soon */
byte steps;
#else
#define SAY(x) skip
#define IS_OVER true
#endif

/* The relay: who wrote each batch and which writes are in it, as bits. */
byte author[LOG + 1], writes[LOG + 1], head, flr, counted, proposed, proposer = NONE;
bool out[DEVICES];

/* The devices. */
bool is_in[DEVICES], gone[DEVICES]; /* it has learnt that it is out */
byte place[DEVICES], has[DEVICES], unsealed[DEVICES], first[DEVICES], second[DEVICES];
byte count[DEVICES];
bool pulled[DEVICES]; /* it is about to push */
bit tries[DEVICES];
bit known[DEVICES], first_epoch[DEVICES], second_epoch[DEVICES]; /* a removal changes the key */

byte drops, revokes, i, mask, d;

inline tell() {
  printf("= %d %d %d %d", head, flr, counted, proposed);
  i = 0;
  do
  :: i < DEVICES -> printf(" %d/%d/%d", place[i], has[i], unsealed[i] | first[i] | second[i]); i++
  :: else -> break
  od;
  printf("\n"); i = 0
}

inline up_to(place_there) { /* -> mask */
  mask = 0; i = 1;
  do
  :: i <= place_there -> mask = mask | writes[i]; i++
  :: else -> break
  od;
  i = 0
}

/* What a device has told its user to be at the relay is there. */
inline check_acknowledged() {
  up_to(head);
  d = 0;
  do
  :: d < DEVICES ->
     assert(gone[d] || ((has[d] & ~(unsealed[d] | first[d] | second[d])) & ~mask) == 0);
     d++
  :: else -> break
  od;
  d = 0; mask = 0
}

#define at(n, me, w) (head >= n && author[n] == me && writes[n] == w)
#define is_there(me, w) (at(1, me, w) || at(2, me, w) || at(3, me, w) || at(4, me, w) || \
  at(5, me, w) || at(6, me, w))

inline store(me, w, epoch) {
  if
  :: is_there(me, w) && FAULT != 1 -> skip /* a repeated request */
  :: !is_there(me, w) && epoch != revokes -> skip /* sealed under the key before */
  :: else -> up_to(head); assert((mask & w) == 0); mask = 0; head++; author[head] = me; writes[head] = w
  fi
}
#define unsent(x) (unsealed[x] | first[x] | second[x])

inline write(me) {
  mask = 1 << (me * 2 + count[me]);
  count[me]++;
  has[me] = has[me] | mask; unsealed[me] = unsealed[me] | mask; mask = 0;
  SAY(("write %d\n", me))
}

inline confirm(me) {
  first[me] = second[me]; first_epoch[me] = second_epoch[me];
  second[me] = 0; second_epoch[me] = 0;
  if :: first[me] == 0 -> first_epoch[me] = 0 :: else -> skip fi
}

/* Where its place is at or before the proposal's, with nothing of its own, it comes to the same. */
inline verify(me) {
  if
  :: proposed > 0 && proposer != me && unsent(me) == 0 && place[me] <= proposed ->
     counted = proposed; proposed = 0; proposer = NONE
  :: else -> skip
  fi
}

inline take_in(me) {
  if
  :: place[me] < flr || (place[me] == 0 && counted > 0) ->
     assert(counted >= flr);
     up_to(counted);
     has[me] = (FAULT == 5 -> mask : mask | unsent(me));
     /* of its own, those that are in there are confirmed */
     if :: (first[me] & ~mask) == 0 -> confirm(me) :: else -> skip fi;
     if :: (first[me] & ~mask) == 0 -> confirm(me) :: else -> skip fi;
     place[me] = counted; mask = 0
  :: else -> skip
  fi;
  do
  :: place[me] < head ->
     place[me]++;
     if
     :: author[place[me]] == me && first[me] == writes[place[me]] ->
        confirm(me)
     :: else -> skip
     fi;
     has[me] = has[me] | writes[place[me]]
  :: else -> break
  od
}

inline seal(me) {
  if
  :: unsealed[me] != 0 && first[me] == 0 ->
     first[me] = unsealed[me]; first_epoch[me] = known[me]; unsealed[me] = 0
  :: unsealed[me] != 0 && first[me] != 0 ->
     second[me] = unsealed[me]; second_epoch[me] = known[me]; unsealed[me] = 0
  :: else -> skip
  fi
}

inline pull(me) {
  if
  :: out[me] -> gone[me] = true
  :: else ->
     known[me] = revokes;
     verify(me);
     take_in(me);
     seal(me);
     pulled[me] = (first[me] != 0)
  fi;
  SAY(("pull %d\n", me))
}
inline deliver(me) { /* the relay's side of a push */
  if
  :: out[me] && FAULT != 2 -> skip
  :: else ->
     assert(!out[me]);
     if :: first[me] != 0 -> store(me, first[me], first_epoch[me]) :: else -> skip fi;
     /* a device's batches follow each other */
     if :: second[me] != 0 && is_there(me, first[me]) -> store(me, second[me], second_epoch[me]) :: else -> skip fi
  fi
}

/* What was stored right behind its place is confirmed; a pull shows the rest. */
inline push(me) {
  deliver(me);
  do
  :: !out[me] && first[me] != 0 && place[me] < head && author[place[me] + 1] == me &&
     writes[place[me] + 1] == first[me] ->
     place[me]++; confirm(me)
  :: else -> break
  od;
  if /* refused for good: all that is left is sealed anew, once the device knows why */
  :: !out[me] && first[me] != 0 && !is_there(me, first[me]) && first_epoch[me] < known[me] ->
     first[me] = first[me] | second[me]; first_epoch[me] = known[me];
     second[me] = 0; second_epoch[me] = 0
  :: else -> skip
  fi;
  pulled[me] = false; tries[me] = 0;
  SAY(("push %d\n", me))
}

/* The relay stores it, and the device does not know: it asks again, if it lives. */
inline push_unanswered(me) {
  deliver(me);
  tries[me]++;
  SAY(("push-unanswered %d\n", me))
}

/* Killed, or the network is gone. */
inline lose(me) {
  if :: FAULT == 4 -> first[me] = 0 :: else -> skip fi;
  pulled[me] = false; tries[me] = 0;
  SAY(("lose %d\n", me))
}

inline propose(me) {
  known[me] = revokes;
  verify(me);
  take_in(me);
  if
  :: unsent(me) == 0 && place[me] > counted && place[me] > proposed ->
     proposed = place[me]; proposer = me
  :: else -> skip
  fi;
  SAY(("propose %d\n", me))
}

inline revoke(me, whom) {
  out[whom] = true; revokes++; known[me] = revokes;
  SAY(("revoke %d %d\n", me, whom))
}

inline drop() {
  flr = (FAULT == 3 -> head : counted); drops++;
  SAY(("drop\n"))
}

inline join() {
  is_in[2] = true;
  SAY(("join 2\n"))
}

#define may(x) (is_in[x] && !gone[x])
#define idle(x) (may(x) && !pulled[x])
#define current(x) (idle(x) && !out[x] && place[x] == head)

/* Everything works again: each syncs until nothing is left to send. */
inline heal() {
  byte round = 0;
  do
  :: round < 9 -> /* one of them may have to seal anew */
     if
     :: may(round % 3) ->
        pulled[round % 3] = false; tries[round % 3] = 0;
        if
        :: round % 3 == 0 -> pull(0); if :: pulled[0] -> push(0) :: else -> skip fi
        :: round % 3 == 1 -> pull(1); if :: pulled[1] -> push(1) :: else -> skip fi
        :: else -> pull(2); if :: pulled[2] -> push(2) :: else -> skip fi
        fi
     :: else -> skip
     fi;
     round++
  :: else -> break
  od;
  up_to(head);
  d = 0;
  do
  :: d < DEVICES -> assert(!may(d) || (unsent(d) == 0 && (has[d] == mask))); d++
  :: else -> break
  od;
  mask = 0
}

#define STEPS(me) \
  :: idle(me) && count[me] < WRITES + (me == 0) && head < LOG - 2 -> atomic { write(me) } \
  :: idle(me) -> atomic { pull(me); check_acknowledged() } \
  :: pulled[me] -> atomic { push(me); check_acknowledged() } \
  :: pulled[me] && tries[me] == 0 -> atomic { push_unanswered(me); check_acknowledged() } \
  :: pulled[me] -> atomic { lose(me); check_acknowledged() } \
  :: current(me) && unsent(me) == 0 && head > 0 && head > proposed && head > counted -> \
     atomic { propose(me); check_acknowledged() }

init {
  is_in[0] = true; is_in[1] = true;
  do
  STEPS(0)
  STEPS(1)
  STEPS(2)
  :: !is_in[2] -> atomic { join() }
  :: is_in[2] && revokes == 0 && current(0) -> atomic { revoke(0, 1); check_acknowledged() }
  :: is_in[2] && revokes == 0 && current(2) -> atomic { revoke(2, 0); check_acknowledged() }
  /* hours later, when no session is left */
  :: drops < 2 && counted > flr && !pulled[0] && !pulled[1] && !pulled[2] -> atomic { drop() }
  :: IS_OVER -> break
  od;
  atomic { heal() }
}

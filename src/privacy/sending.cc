// The gate's part that sends what waits: every check again, then the same bytes as ever.

#include <algorithm>

#include "holdfast/error.h"
#include "src/crypto/aead.h"
#include "src/privacy/gate.h"
#include "src/privacy/ledger.h"
#include "src/wire/egress.h"

namespace holdfast::privacy {
namespace {

using store::Engine;
using store::Statement;

constexpr std::int64_t kFirstPauseMs = 60'000;
constexpr std::int64_t kLongestPauseMs = 6 * 3'600'000;

std::int64_t pause_ms(int attempts) {
  return std::min(kFirstPauseMs << std::min(attempts, 10), kLongestPauseMs);
}

// Answers after which the same bytes would only be refused again.
bool is_final(int status) {
  constexpr int kFinal[] = {400, 403, 410, 413, 415, 422};
  return std::find(std::begin(kFinal), std::end(kFinal), status) != std::end(kFinal);
}

Use use_of_grant(const Grant& grant) {
  return {grant.data_type, grant.purpose, grant.destination, std::nullopt};
}

}  // namespace

std::optional<Gate::Waiting> Gate::tx_row(std::int64_t num) {
  Statement query(engine_.database().connection().prepare(
      "SELECT egress, grant_id, key_id, policy, next_ms, attempts, body FROM egress_queue "
      "WHERE num = ?"));
  query.bind(num);
  if (!query.step()) return std::nullopt;
  Waiting row;
  row.num = num;
  row.egress = base::to_hex(query.blob(0));
  row.grant = query.text(1);
  row.key_id = query.text(2);
  row.policy = query.text(3);
  row.next_ms = query.integer(4);
  row.attempts = static_cast<int>(query.integer(5));
  row.body = base::to_bytes(query.blob(6));
  return row;
}

void Gate::tx_drop(const Waiting& row, const Verdict& why) {
  std::optional<HeldGrant> held = grants_.by_id(row.grant);
  Json entry = held ? tx_about(use_of_grant(held->grant), row.grant) : Json::object();
  entry["egress"] = row.egress;
  entry["reason"] = why.reason;
  entry["dropped"] = 1;
  append_to_ledger(engine_, "drop", std::move(entry));
  Statement(engine_.database().connection().prepare("DELETE FROM egress_queue WHERE num = ?"))
      .bind(row.num)
      .run();
}

std::variant<Gate::Attempt, Gate::Sent> Gate::release(std::int64_t num, bool due_only,
                                                      Verdict* why) {
  Engine::Transaction transaction(engine_);
  why->purged = tx_settle();
  std::optional<Waiting> row = tx_row(num);
  std::int64_t now = grants_.now_ms();
  if (!row || (due_only && row->next_ms > now)) {
    transaction.commit();
    return row ? Sent::waits : Sent::gone;
  }
  std::optional<HeldGrant> held = grants_.by_id(row->grant);
  Use kind = held ? use_of_grant(held->grant) : Use{};
  const Use* use = rules_.use(kind.data_type, kind.purpose, kind.destination);
  if (held && !use) {  // another policy's: it waits for that one
    why->message = "this policy does not provide for it: it waits";
    transaction.commit();
    return Sent::waits;
  }
  Verdict verdict = tx_check(use ? *use : kind, held);
  const DestinationKey* key =
      use ? rules_.destinations.at(use->destination).key(row->key_id) : nullptr;
  if (verdict.ok() && row->policy != rules_.hash) {
    verdict = {"policy_changed", "the privacy policy changed before this was sent: send it again"};
  }
  if (verdict.ok() && (!key || key->not_before_ms > now || key->not_after_ms <= now)) {
    verdict = {"no_valid_key", "the destination's key expired before this was sent"};
  }
  // It was charged when it was made; but this device's share may be another by now.
  if (verdict.ok() && use->budget && BudgetBook(engine_, *use, now / kDayMs).is_overdrawn()) {
    verdict = {"budget_spent", "this device has spent more than its share of the budget"};
  }
  std::optional<crypto::Secret> body;
  if (verdict.ok()) {
    std::optional<crypto::Secret> queue_key = tx_queue_key(row->grant);
    if (queue_key) {
      body = crypto::open_committing(queue_key->view(), "holdfast egress queue v1 " + row->grant,
                                     row->body);
    }
    if (!body) verdict = {"damaged", "what waited to be sent was damaged: send it again"};
  }
  if (!verdict.ok()) {
    tx_drop(*row, verdict);
    transaction.commit();
    why->reason = verdict.reason;
    why->message = verdict.message;
    return Sent::dropped;
  }
  Json entry = tx_about(*use, row->grant);
  entry["egress"] = row->egress;
  entry["attempt"] = row->attempts + 1;
  append_to_ledger(engine_, "attempt", std::move(entry));
  Statement update(engine_.database().connection().prepare(
      "UPDATE egress_queue SET attempts = attempts + 1, next_ms = ? WHERE num = ?"));
  update.bind(engine_.now_ms() + pause_ms(row->attempts)).bind(num).run();
  transaction.commit();
  return Attempt{
      SealedEgress(rules_.destinations.at(use->destination).url, base::to_bytes(body->view())),
      std::move(*row)};
}

Gate::Sent Gate::finish(const Waiting& row, const base::HttpResponse& response, Verdict* why) {
  Engine::Transaction transaction(engine_);
  // It may be gone: the permission ended meanwhile. What has arrived is entered all the same.
  bool still = tx_row(row.num).has_value();
  Sent sent = still ? Sent::waits : Sent::dropped;
  if (!still) {
    why->reason = "revoked";
    why->message = "the permission ended while this was being sent";
  }
  if (response.status >= 200 && response.status < 300) {
    std::optional<HeldGrant> held = grants_.by_id(row.grant);
    Json entry = held ? tx_about(use_of_grant(held->grant), row.grant) : Json::object();
    entry["egress"] = row.egress;
    entry["status"] = response.status;
    append_to_ledger(engine_, "send", std::move(entry));
    Statement(engine_.database().connection().prepare("DELETE FROM egress_queue WHERE num = ?"))
        .bind(row.num)
        .run();
    sent = Sent::yes;
  } else if (!still) {
    // Its end is in the ledger already.
  } else if (is_final(response.status)) {
    why->reason = "destination_refused";
    why->message = "the destination refuses it (HTTP " + std::to_string(response.status) +
                   "): ask its operator";
    tx_drop(row, *why);
    sent = Sent::dropped;
  } else {
    why->message =
        response.status == 0
            ? "the destination cannot be reached: it is tried again"
            : "the destination answers " + std::to_string(response.status) + ": it is tried again";
    std::int64_t next =
        engine_.now_ms() + std::max<std::int64_t>(pause_ms(row.attempts), response.retry_after_ms);
    Statement update(engine_.database().connection().prepare(
        "UPDATE egress_queue SET next_ms = ? WHERE num = ?"));
    update.bind(next).bind(row.num).run();
  }
  transaction.commit();
  return sent;
}

Gate::Sent Gate::attempt(std::int64_t num, bool due_only, const std::atomic<bool>* cancelled,
                         Verdict* why) {
  Engine::EgressTurn& turn = engine_.egress_turn();
  if (turn.stopped || (cancelled && *cancelled)) return Sent::stopped;
  if (!engine_.environment().network) return Sent::waits;
  std::variant<Attempt, Sent> released = release(num, due_only, why);
  if (const Sent* otherwise = std::get_if<Sent>(&released)) return *otherwise;
  auto& attempt = std::get<Attempt>(released);
  EgressTransport transport(*engine_.environment().network);
  base::HttpResponse response = transport.send(std::move(attempt.egress), cancelled, &turn.stopped);
  return finish(attempt.row, response, why);
}

QueueReport Gate::send_queued(bool all, const std::atomic<bool>* cancelled) {
  engine_.require_no_transaction();
  std::vector<std::int64_t> due;
  QueueReport report;
  {
    Engine::Transaction transaction(engine_);
    report.dropped = tx_settle();
    std::int64_t now = grants_.now_ms();
    Statement query(engine_.database().connection().prepare(
        "SELECT num FROM egress_queue WHERE next_ms <= ? ORDER BY num"));
    query.bind(all ? INT64_MAX : now);
    while (query.step()) due.push_back(query.integer(0));
    transaction.commit();
  }
  for (std::int64_t num : due) {
    std::lock_guard lock(engine_.egress_turn().mutex);
    Verdict why;
    Sent sent = attempt(num, !all, cancelled, &why);
    if (sent == Sent::stopped) break;
    report.sent += sent == Sent::yes;
    report.dropped += why.purged + (sent == Sent::dropped ? 1 : 0);
  }
  report.waiting = queue().size();
  return report;
}

std::vector<QueuedEgress> Gate::queue() {
  Engine::Transaction transaction(engine_);
  tx_settle();
  std::map<std::string, Grant> grants;
  for (HeldGrant& held : grants_.all()) grants[held.grant.id] = held.grant;
  std::vector<QueuedEgress> out;
  {
    Statement query(engine_.database().connection().prepare(
        "SELECT egress, grant_id, next_ms, attempts FROM egress_queue ORDER BY num"));
    while (query.step()) {
      std::string grant(query.text(1));
      const Grant& of = grants[grant];
      out.push_back({base::to_hex(query.blob(0)), grant, of.data_type, of.purpose, of.destination,
                     query.integer(2), static_cast<int>(query.integer(3))});
    }
  }
  transaction.commit();
  return out;
}

}  // namespace holdfast::privacy

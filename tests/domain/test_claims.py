from falcon.domain.aggregates import id_of_text, is_counted
from falcon.domain.answers import Done
from falcon.domain.ids import ID_MAX
from falcon.domain.rejections import LastOwner, TextTaken
from falcon.features.claims.rules import ClaimText, ReleaseText, TextClaimed, TextReleased
from falcon.features.owners.rules import StepDown, SteppedDown
from tests.support.builders import ANN, BOB, CAT
from tests.support.given import Given, given


def claimed(account_id: int = ANN, wish: int = 1, text: str = "tea") -> TextClaimed:
    return TextClaimed("handle", text, account_id, wish)


def test_a_free_text_is_claimed_and_another_account_does_not_get_it() -> None:
    taken = given().when(ClaimText("handle", "tea", ANN, 1)).then(claimed()).answered(Done())
    Given(taken.world).when(ClaimText("handle", "tea", BOB, 9)).then_rejected(TextTaken("handle"))


def test_an_account_claims_its_text_again_for_a_later_wish() -> None:
    given(claimed(wish=2)).when(ClaimText("handle", "tea", ANN, 3)).then(claimed(wish=3))
    given(claimed(wish=2)).when(ClaimText("handle", "tea", ANN, 2)).then_nothing_happened()
    given(claimed(wish=2)).when(ClaimText("handle", "tea", ANN, 1)).then_nothing_happened()


def test_a_text_is_released_by_its_account_and_free_then() -> None:
    released = given(claimed(wish=2)).when(ReleaseText("handle", "tea", ANN, 2))
    released.then(TextReleased("handle", "tea", ANN, 2))
    Given(released.world).when(ClaimText("handle", "tea", BOB, 1)).then(claimed(BOB))


def test_a_late_release_of_an_earlier_wish_and_one_by_another_account_change_nothing() -> None:
    given(claimed(wish=2)).when(ReleaseText("handle", "tea", ANN, 1)).then_nothing_happened()
    given(claimed(wish=2)).when(ReleaseText("handle", "tea", BOB, 9)).then_nothing_happened()
    given().when(ReleaseText("handle", "tea", ANN, 9)).then_nothing_happened()


def test_texts_of_one_hash_do_not_touch_each_other() -> None:
    both = Given(given(claimed()).world.after())
    aggregate = both.world.aggregates.get(claimed().claims_id)
    shared = Given(type(both.world)(both.world.aggregates.set(id_of_text("handle", "milk"), aggregate)))
    outcome = shared.when(ClaimText("handle", "milk", BOB, 1)).then(claimed(BOB, text="milk"))
    texts = outcome.world.aggregates[id_of_text("handle", "milk")].texts
    assert {text: claim.account_id for text, claim in texts.items()} == {"tea": ANN, "milk": BOB}


def test_the_id_of_a_text_is_above_all_that_are_counted_and_depends_on_what_the_text_is() -> None:
    assert not is_counted(id_of_text("handle", "tea"))
    assert is_counted(ID_MAX)
    assert id_of_text("handle", "tea") != id_of_text("email", "tea")
    assert id_of_text("handle", "tea") < 2**63


# --- owners -----------------------------------------------------------------------------------------------------------


def test_the_last_owner_stays() -> None:
    given().when(StepDown(ANN, {ANN: 0})).then_rejected(LastOwner(ANN))
    stepped = given().when(StepDown(ANN, {ANN: 0, BOB: 0})).then(SteppedDown(ANN, 0))
    Given(stepped.world).when(StepDown(BOB, {ANN: 0, BOB: 0})).then_rejected(LastOwner(BOB))
    Given(stepped.world).when(StepDown(BOB, {ANN: 0, BOB: 0, CAT: 3})).then(SteppedDown(BOB, 0))


def test_an_owner_who_stepped_down_counts_again_once_the_role_has_changed_since() -> None:
    given(SteppedDown(ANN, 0)).when(StepDown(BOB, {ANN: 2, BOB: 0})).then(SteppedDown(BOB, 0))


def test_an_owner_steps_down_once() -> None:
    given(SteppedDown(ANN, 2)).when(StepDown(ANN, {ANN: 2, BOB: 0})).then_nothing_happened()
    given(SteppedDown(ANN, 2)).when(StepDown(ANN, {ANN: 4, BOB: 0})).then(SteppedDown(ANN, 4))

"""Tunes by rule, as words and as sound; a composer that is new; a judge of mood."""

import io
import random
import wave
from dataclasses import replace

import numpy as np
import pytest
import torch

from aigc_course import music

TUNES = list(music.tunes(200, "test"))


# --- a tune --------------------------------------------------------------------------------------------------


def test_a_tune_by_rule_has_eight_full_bars_stays_in_key_and_ends_at_home():
    for tune in TUNES:
        heard = music.listen(music.to_words(tune))
        assert (heard.bars, heard.in_key, heard.home, heard.fault) == (1.0, 1.0, True, "")


def test_words_and_tunes_are_the_same_thing_twice():
    assert all(music.listen(music.to_words(tune)).tune == tune for tune in TUNES)


def test_every_word_of_a_tune_is_in_the_vocabulary():
    words = set(music.vocabulary())
    assert all(set(music.to_words(tune).split()) <= words for tune in TUNES)
    assert len(words) == len(music.vocabulary())


def test_the_same_seed_gives_the_same_tunes_and_a_split_shares_none_with_another():
    assert list(music.tunes(200, "test")) == TUNES
    assert not set(TUNES) & set(music.tunes(200, "judge"))


def test_what_is_asked_is_composed():
    tune = music.compose(random.Random(0), "sad", "slow", "Eb")
    assert (tune.mood, tune.tempo, tune.key) == ("sad", "slow", "Eb")


def test_a_fast_tune_has_no_two_eighths_in_a_row_within_a_bar():
    for seed in range(50):
        words = music.to_words(music.compose(random.Random(seed), "happy", "fast"))
        assert all(bar.split()[1::2].count("l1") <= 1 for bar in words.split("|")[1:-1])


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        ("", "must begin with a mood"),
        ("happy fast", "must begin with a mood"),
        ("merry fast C p60 l8 | <end>", "must begin with a mood"),
        ("happy fast C <end>", "no notes"),
        ("happy fast C p60 p62 | <end>", "“p60 p62” is no note"),
        ("happy fast C p60 l8 | p200 l4 <end>", "“p200 l4” is no note"),
        ("happy fast C p60 l8 | p60", "“p60” is no note"),
        ("happy fast C p60 l8 |", "does not end"),
        ("happy fast C p60 l8 | p60 l4 <end>", "1 of its 2 bars are full"),
        ("happy fast C p60 l4 | p60 l4 <end>", "0 of its 2 bars are full"),
        ("happy fast C " + "p60 l8 | " * 9 + "<end>", "9 of its 9 bars are full; a tune has 8"),
        ("happy fast C l8 p60 <end>", "“l8 p60” is no note"),
        ("<script> fast C", "must begin with a mood"),
    ],
)
def test_words_that_are_no_tune_are_told_why(words, fault):
    assert fault in music.listen(words).fault


def test_a_wrong_note_lowers_the_share_in_key():
    words = "happy fast C p60 l4 p61 l4 | <end>"
    assert music.listen(words).in_key == 0.5


@pytest.mark.parametrize(
    ("make", "fix"),
    [
        (lambda: music.Note(60, 5), "use one of: 1, 2, 3"),
        (lambda: music.Note(20, 4), "keep it in 48 to 84"),
        (lambda: replace(TUNES[0], mood="bored"), "use one of: happy"),
        (lambda: replace(TUNES[0], tempo="presto"), "use one of: slow"),
        (lambda: replace(TUNES[0], key="H"), "use one of: C"),
        (lambda: replace(TUNES[0], notes=()), "give at least one"),
        (lambda: music.compose(random.Random(0), "bored"), "use one of: happy"),
        (lambda: list(music.tunes(1, "exam")), "use one of: train"),
        (lambda: music.play(TUNES[0], rate=100), "use 4,000 or more"),
        (lambda: music.to_wav(np.zeros((2, 2))), "one channel"),
        (lambda: music.to_wav(np.array([np.nan])), "finite"),
        (lambda: music.write(None, music.tokenizer(), [("sad", "slow", "C")], -1), "0 is the likeliest"),
        (lambda: music.trained_judge([TUNES[0]]), "every mood"),
    ],
)
def test_bad_input_gets_a_sentence_with_the_fix(make, fix):
    with pytest.raises(ValueError, match=fix):
        make()


# --- sound ---------------------------------------------------------------------------------------------------


def test_a_tone_has_the_pitch_it_was_asked_for():
    sound = music.tone(music.frequency(69), 1.0, 8000)
    spectrum = np.abs(np.fft.rfft(sound))
    assert np.fft.rfftfreq(len(sound), 1 / 8000)[spectrum.argmax()] == pytest.approx(440, abs=1)


def test_twelve_steps_double_the_frequency():
    assert music.frequency(81) == pytest.approx(2 * music.frequency(69))


def test_a_tune_sounds_as_long_as_it_says_and_never_clips():
    tune = music.compose(random.Random(1), "calm", "slow", "C")
    sound = music.play(tune, 8000)
    assert len(sound) == int((tune.seconds + 0.5) * 8000)
    assert np.abs(sound).max() <= 1


def test_rests_are_silent():
    tune = music.Tune("calm", "slow", "C", (music.Note(None, 8), music.Note(60, 8)))
    sound = music.play(tune, 8000, bass=0)
    half = int(tune.seconds / 2 * 8000)
    assert not sound[:half].any()
    assert sound[half:].any()


def test_a_wav_file_can_be_read_again(tmp_path):
    path = music.save(TUNES[0], tmp_path / "tune.wav", 8000)
    with wave.open(io.BytesIO(path.read_bytes())) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 8000)
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32767
    np.testing.assert_allclose(samples, music.play(TUNES[0], 8000), atol=1e-4)


def test_a_roll_shows_each_note_where_and_as_long_as_it_sounds():
    tune = music.Tune("calm", "slow", "C", (music.Note(84, 2), music.Note(48, 6)))
    dark = music.roll(tune, across=1, up=1)[0] < 0
    assert dark.shape == (37, 8)
    assert dark[0].tolist() == [True] * 2 + [False] * 6
    assert dark[-1].tolist() == [False] * 2 + [True] * 6


# --- the composer and the judge ----------------------------------------------------------------------------


def test_the_tokenizer_loses_nothing_and_has_a_pad_of_its_own():
    words = music.tokenizer()
    texts = [music.to_words(tune) for tune in TUNES[:20]]
    ids = music.encode(words, texts)
    assert [words.decode(row[1:][row[1:] != words.pad_token_id]) for row in ids] == texts
    assert words.pad_token_id not in (words.bos_token_id, words.eos_token_id)


def test_a_composer_learns_one_tune_by_heart():
    torch.manual_seed(0)
    words = music.tokenizer()
    model = music.new_composer(words, width=32, layers=1, heads=2)
    text = "calm slow C " + "p60 l8 | p64 l8 | " * 4 + "<end>"
    ids = music.encode(words, [text])
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(60):
        optimiser.zero_grad()
        model(ids, labels=ids).loss.backward()
        optimiser.step()
    assert music.write(model.eval(), words, [("calm", "slow", "C")], temperature=0) == [text]


def test_the_same_seed_writes_the_same_tune():
    words = music.tokenizer()
    torch.manual_seed(0)
    model = music.new_composer(words, width=32, layers=1, heads=2).eval()
    first, second, other = (music.write(model, words, [("sad", "slow", "D")], seed=seed) for seed in (1, 1, 2))
    assert first == second != other


def test_the_judge_hears_moods_that_it_is_not_told():
    judge = music.trained_judge(list(music.tunes(400, "judge")), steps=200)
    right = [heard == tune.mood for heard, tune in zip(judge.moods(TUNES), TUNES, strict=True)]
    assert sum(right) / len(right) > 0.9
    lied = [replace(tune, mood="happy") for tune in TUNES]
    assert judge.moods(lied) == judge.moods(TUNES)

"""The refusal list: what it must catch in each language, and what it must let pass."""

from __future__ import annotations

import pytest

from tuner.data import forbidden_words

REFUSED = """
loli
1loli, solo
oppai_loli
shota
onee-shota
lolicon
a child on a swing
Child
children playing
kid
2kids
baby, crib
toddler
a newborn infant
teen
teenage_girl
two teenagers
preteen
underage
under 18
a minor
1girl, minor, solo
minors
schoolgirl
school boy
a young girl in a red dress
a little boy
elementary school student
high school girl
middle school
kindergarten uniform
child-like
aged_down
12 years old
a 12-year-old girl
girl, 7 yrs old
12yo
15 y/o
age 9
age: 16
aged 15
ages 3 to 5
aged twelve
sixteen year old
6 months old
17 years of age
ein Kind
Kinder
Kleinkind
Säugling
saeugling
minderjährig
ein kleines Mädchen
12-jähriges Mädchen
9 Jahre alt
un enfant
bébé
fillette
petite fille
une fille de 12 ans
adolescente
mineure
un niño
niña
menor de edad
chica de 15 años
bambina
ragazzina
una ragazza di 13 anni
criança
幼女
ロリ
子供
小学生
女子高生
12歳の女の子
儿童
萝莉
未成年
15岁
ребенок
ребёнок
маленькая девочка
школьница
подросток
15 лет
12-летняя
어린이
아이
미성년자
여고생
12살
"""

ALLOWED = """
1girl
1boy, solo
2girls, multiple_girls
a girl
a boy in a white shirt
a young woman
young man, full body
a 25 year old woman
18 years old
age 34
aged forty
30yo
woman, 1990
eighteen years old
babydoll
babydoll lingerie
baby blue dress
baby_bangs
baby's breath flowers
kid gloves
childhood home
child's pose
gothic_lolita
lolita fashion
kidney beans
infantry uniform
a shotgun
minor scratches on the wall
a minor key
a kind smile
mankind
teenth
page 9
stage 12
ice age 2
middle ages costume
image 5
12 years ago
a 2 storey house, 10 windows
slit pupils
student, university
school uniform
schoolbag
german shepherd
lolly
adolf
ein Mädchen
eine Frau, 25 Jahre alt
une fille
fille de 22 ans
chica
una ragazza
女の子
男の子
女性、25歳
女孩
女孩子
девушка
женщина 25 лет
в 2018 году
여자
아이스크림
15세기
mi_cv
nakano_nino
1.10 m tall
"""


@pytest.mark.parametrize("text", REFUSED.strip().splitlines())
def test_children_are_refused(text: str) -> None:
    assert forbidden_words(text)


@pytest.mark.parametrize("text", ALLOWED.strip().splitlines())
def test_adults_and_things_pass(text: str) -> None:
    assert forbidden_words(text) == ()


def test_wide_letters_and_digits_are_read() -> None:
    assert forbidden_words("\uff11\uff12 years old") == ("12 years old",)


def test_each_word_is_returned_once() -> None:
    text = "A Child, loli, child, 12_years_old"
    assert forbidden_words(text) == ("child", "loli", "12 years old")


def test_every_harmless_phrase_leaves_the_rest_of_the_text_watched() -> None:
    assert forbidden_words("baby blue dress, toddler") == ("toddler",)


@pytest.mark.parametrize(
    "text", ["1girl\rminor\rhat", "1girl\u3001minor", "(minor:1.2), hat", "1girl, [minor]"]
)
def test_a_tag_is_refused_beside_every_separator_and_in_brackets(text: str) -> None:
    assert forbidden_words(text) == ("minor",)


@pytest.mark.parametrize("age", range(18))
def test_every_age_under_18_is_refused(age: int) -> None:
    assert forbidden_words(f"a {age} year old person")


@pytest.mark.parametrize("age", [18, 19, 20, 45, 99, 100, 117])
def test_no_age_from_18_is_refused(age: int) -> None:
    assert not forbidden_words(f"a {age} year old person, aged {age}, {age}yo")


def test_a_long_caption_takes_no_time() -> None:
    assert forbidden_words("1girl, solo, red shirt, " * 2000) == ()

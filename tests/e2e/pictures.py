"""Makes the pictures of README and docs from a running demo school, in which everybody is made up.

`./start.sh demo`, then `LAUREL_PASSWORD=… .venv/bin/python -m tests.e2e.pictures` with the password shown.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from playwright.sync_api import Page, sync_playwright

from elt.people.users import FIRST_ADMIN
from elt.settings import PROJECT_DIR
from tests.e2e.chromium import CHROMIUM, FLAGS

PICTURES = PROJECT_DIR / "docs" / "pictures"
URL = os.environ.get("LAUREL_URL", "http://127.0.0.1:5000")
EMAIL = os.environ.get("LAUREL_EMAIL", FIRST_ADMIN)
SIZE = {"width": 1280, "height": 800}
HEADER = "Student ID,First Name,Last Name,Gender,Grade Level,Date of Birth"
ROWS = [f"NEW{number},Ada,Obi,Female,JSS1,2014-01-01" for number in range(1, 41)]
ROWS[1] = "NEW2,Bola,Ade,Male,JSS1,yesterday"
SAMPLE = "\n".join([HEADER, *ROWS, ""])


def first_student(page: Page) -> None:
    """The page of who stands first on the worklist."""
    page.goto(f"{URL}/worklist")
    page.locator("#worklist tbody th a").first.click()


def checked_file(page: Page) -> None:
    """A file with a fault, as it is shown before it is sent."""
    page.goto(f"{URL}/hand-in?dataset=students")
    file = {"name": "new students.csv", "mimeType": "text/csv", "buffer": SAMPLE.encode()}
    page.locator("#files").set_input_files(files=[file])
    page.get_by_text("First rows as they were read").click()
    page.locator("#chosen").scroll_into_view_if_needed()


def at(path: str) -> Callable[[Page], None]:
    """A page by its address."""
    return lambda page: page.goto(f"{URL}{path}") and None


VIEWS: dict[str, Callable[[Page], None]] = {
    "summary": at("/summary"),
    "worklist": at("/worklist"),
    "student": first_student,
    "hand-in": checked_file,
    "live": at("/live"),
    "insights": at("/insights"),
    "marts": at("/marts/mart_class_summary"),
    "admin": at("/admin"),
}


def main() -> None:
    """Sign in, and take a picture of each view."""
    password = os.environ.get("LAUREL_PASSWORD")
    if not password:
        sys.exit("Set LAUREL_PASSWORD to the password that `./start.sh demo` showed for the first sign-in.")
    PICTURES.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport=SIZE, color_scheme="light")
        page.goto(f"{URL}/sign-in")
        page.get_by_label("E-mail").fill(EMAIL)
        page.get_by_label("Password").fill(password)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url(f"{URL}/")
        for name, show in VIEWS.items():
            show(page)
            page.wait_for_timeout(1_500)  # charts are drawn, and the live page has its first figures
            page.screenshot(path=PICTURES / f"{name}.png")
            print(PICTURES / f"{name}.png")
        browser.close()


if __name__ == "__main__":
    main()
